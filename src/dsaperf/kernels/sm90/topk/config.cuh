#pragma once

#include <cstdint>

namespace dsaperf::kernels::sm90 {

inline constexpr int kTopkBins = 2048;     // of one round: 11 bits
inline constexpr int kTopkFinalists = 32;  // a lane for each: ranked by ballots
inline constexpr int kTopkMaxShared = 227 * 1024;

// The bin with the threshold.
struct FoundBin {
  std::uint32_t bin;
  std::uint32_t above;  // elements above it
  std::uint32_t count;  // in it
};

// The finalist that is the threshold.
struct RankedFinalist {
  std::uint64_t value;
  std::uint32_t above;  // finalists larger than it
  std::uint32_t equal;  // to it, with itself
};

// Fixed part of shared memory; candidates and the bitmap, or the output of a short row, follow it.
struct alignas(16) TopkShared {
  std::uint32_t histogram[kTopkBins];  // all zero between rounds
  std::uint64_t finalists[kTopkFinalists];
  RankedFinalist threshold;
  std::uint32_t warp_sum[32];
  FoundBin found;
  std::uint32_t candidates;  // may pass the capacity: then the list is incomplete
  std::uint32_t largest;     // key of any candidate
  std::uint32_t finalist_count;
  std::uint32_t zeros;  // elements of a short row that are zero
};

}  // namespace dsaperf::kernels::sm90
