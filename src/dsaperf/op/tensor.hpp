#pragma once

#include "dsaperf/op/buffer.hpp"

#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

namespace dsaperf::op {

enum class DType { kBf16, kF32, kE4m3, kI32, kI64 };

constexpr std::int64_t size_of(DType type) {
  switch (type) {
    case DType::kE4m3:
      return 1;
    case DType::kBf16:
      return 2;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 8;
  }
  return 0;
}

// A packed tensor in a backend's memory.
struct Tensor {
  DType type = DType::kBf16;
  std::vector<std::int64_t> shape;
  Buffer buffer = {};

  std::int64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }
  // Elements of one index of the first dimension.
  std::int64_t row_elements() const {
    return std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  }
  std::uint16_t* bf16() const { return buffer.as<std::uint16_t>(); }
  float* f32() const { return buffer.as<float>(); }
  std::uint8_t* e4m3() const { return buffer.as<std::uint8_t>(); }
  std::int32_t* i32() const { return buffer.as<std::int32_t>(); }
  std::int64_t* i64() const { return buffer.as<std::int64_t>(); }
};

}  // namespace dsaperf::op
