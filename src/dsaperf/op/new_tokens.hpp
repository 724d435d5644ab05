#pragma once

#include "dsaperf/op/layer_weights.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace dsaperf::op {

// Hidden states: normal of variance 1, bf16 [tokens, hidden]. Row i of a seed is always the same.
std::vector<std::uint16_t> random_hidden_states(int hidden, std::uint64_t seed,
                                                std::int64_t tokens);

// Those of new tokens at these positions of their requests, as these weights want them: with the
// marks of peaked scores.
std::vector<std::uint16_t> random_new_tokens(const LayerSpec& spec, const LayerWeights& weights,
                                             std::uint64_t seed,
                                             std::span<const std::int32_t> positions);

}  // namespace dsaperf::op
