#pragma once

#include "dsaperf/kernels/formats.hpp"

#include <cstdint>
#include <random>
#include <vector>

namespace dsaperf::kernels::testing {

// bf16 tensors of tests: normal values by seed, and the way back to double.
inline std::vector<std::uint16_t> normal_bf16(std::int64_t size, unsigned seed, double sigma = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, sigma);
  std::vector<std::uint16_t> values(size);
  for (auto& value : values) value = bf16_from(normal(engine));
  return values;
}

inline std::vector<std::uint16_t> bf16(const std::vector<double>& values) {
  std::vector<std::uint16_t> bits;
  for (const double value : values) bits.push_back(bf16_from(value));
  return bits;
}

inline std::vector<double> doubles(const std::vector<std::uint16_t>& bits) {
  std::vector<double> values;
  for (const auto value : bits) values.push_back(bf16_to_float(value));
  return values;
}

}  // namespace dsaperf::kernels::testing
