#pragma once

#include <cstdint>

namespace dsaperf::op {

// 64 random bits by seed, stream and index: no state, so tensors fill in parallel and a part of one
// is the same however it is cut. splitmix64 (Steele, Lea, Flood 2014) on a combined counter.
inline std::uint64_t bits_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  std::uint64_t x =
      seed * 0xd1342543de82ef95 + stream * 0xaf251af3b0f025b5 + (index + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// In [0, 1).
inline double uniform_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  return static_cast<double>(bits_at(seed, stream, index) >> 11) * 0x1p-53;
}

// A normal value as the sum of four 16-bit uniforms: close to normal within 3.4 sigma, nothing
// beyond; what matters here is speed and that it is the same everywhere.
inline float normal_at(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const std::uint64_t x = bits_at(seed, stream, index);
  const auto sum = static_cast<std::int32_t>((x & 0xffff) + ((x >> 16) & 0xffff) +
                                             ((x >> 32) & 0xffff) + (x >> 48));
  constexpr float kMean = 2 * 65535.0F;
  constexpr float kSigma = 37837.2F;  // sqrt(4 / 12) * 65536
  return (static_cast<float>(sum) - kMean) / kSigma;
}

// `count` bf16 values, sigma times normal, from index `first` of a stream.
void fill_normal_bf16(std::uint64_t seed, std::uint64_t stream, std::int64_t first,
                      std::int64_t count, float sigma, std::uint16_t* values);

}  // namespace dsaperf::op
