#pragma once

#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/past_tokens.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace dsaperf::op::testing {

// A layer small enough for the double reference, with every part of a real one.
inline LayerSpec small_spec() {
  return {.hidden = 96,
          .heads = 8,
          .q_lora = 48,
          .nope = 24,
          .v = 32,
          .index_heads = 8,
          .topk = 64,
          .rope = {.theta = 10000, .factor = 40},
          .softmax_scale = 1 / std::sqrt(24.0F + 64)};
}

inline std::vector<std::uint16_t> random_x(const LayerSpec& spec, std::int64_t tokens,
                                           std::uint64_t seed = 7) {
  std::vector<std::uint16_t> x(tokens * spec.hidden);
  fill_normal_bf16(seed, 16, 0, tokens * spec.hidden, 1, x.data());
  return x;
}

template <typename T>
std::vector<T> host(Backend& backend, const Tensor& tensor) {
  std::vector<T> values(tensor.elements());
  EXPECT_TRUE(backend.download(tensor.buffer.data(), values.size() * sizeof(T), values.data()));
  return values;
}

// The set that a token selected.
inline std::set<std::int32_t> selected(const std::vector<std::int32_t>& selection, int width,
                                       std::int64_t token) {
  std::set<std::int32_t> result;
  for (int i = 0; i < width; ++i)
    if (selection[token * width + i] >= 0) result.insert(selection[token * width + i]);
  return result;
}

}  // namespace dsaperf::op::testing
