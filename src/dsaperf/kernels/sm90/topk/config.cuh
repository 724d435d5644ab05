#pragma once

#include <cstdint>

namespace dsaperf::kernels::sm90 {

inline constexpr int kTopkBins = 2048;      // of one round: 11 bits
inline constexpr int kTopkFinalists = 128;  // few enough to rank each against each
inline constexpr int kTopkMaxShared = 227 * 1024;

// Fixed part of shared memory; candidates and the bitmap, or the output of a short row, follow it.
struct alignas(16) TopkShared {
  std::uint32_t histogram[kTopkBins];  // all zero between rounds
  std::uint64_t finalists[kTopkFinalists];
  std::uint64_t threshold;
  std::uint32_t warp_sum[32];
  std::uint32_t found_bin;
  std::uint32_t found_above;
  std::uint32_t found_count;
  std::uint32_t candidates;  // may pass the capacity: then the list is incomplete
  std::uint32_t largest;     // key of any candidate
  std::uint32_t finalist_count;
  std::uint32_t zeros;  // elements of a short row that are zero
};

}  // namespace dsaperf::kernels::sm90
