#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// The bins in which scores are counted while they are computed.
namespace dsaperf::kernels::sm90 {

// Bins are 1/32 octave wide between 2^-16 and 2^16 of either sign; the outermost and innermost ones
// hold the rest.
inline constexpr int kScoreShift = 18;  // of a float's bits: 5 of its mantissa stay
inline constexpr int kLowestMagnitude = (127 - 16) << 5;  // of bin kBinsOfSign, shifted
inline constexpr int kBinsOfSign = kScoreBins / 2;

__device__ inline int score_bin(std::uint32_t key) {
  const bool positive = key >= kKeyOfZero;
  const std::uint32_t magnitude = (positive ? key : ~key) & 0x7fffffffu;
  const int step = static_cast<int>(magnitude >> kScoreShift) - kLowestMagnitude;
  const int bin = min(max(step, 0), kBinsOfSign - 1);
  return positive ? kBinsOfSign + bin : kBinsOfSign - 1 - bin;
}

// The lowest key of a bin.
__device__ inline std::uint32_t first_key_of_score_bin(int bin) {
  const int step = bin - kBinsOfSign;
  if (step == -kBinsOfSign) return 0;
  if (step == 0) return kKeyOfZero;
  const auto magnitude = static_cast<std::uint32_t>(kLowestMagnitude + (step > 0 ? step : -step))
                         << kScoreShift;
  return step > 0 ? kKeyOfZero + magnitude : kKeyOfZero - magnitude;
}

// What competes for the last places of the topk largest: the scores in the bin with the threshold.
__device__ inline Range range_of_score_bin(int topk, const FoundBin& found) {
  const auto bin = static_cast<int>(found.bin);
  const std::uint32_t least = first_key_of_score_bin(bin);
  const std::uint32_t beyond = bin == kScoreBins - 1 ? 0 : first_key_of_score_bin(bin + 1);
  return {least, beyond - 1 - least, found.count, static_cast<std::uint32_t>(topk) - found.above};
}

}  // namespace dsaperf::kernels::sm90
