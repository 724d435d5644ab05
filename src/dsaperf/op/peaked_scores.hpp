#pragma once

#include "dsaperf/op/layer_spec.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <array>
#include <cstdint>

namespace dsaperf::op {

// ScoreDistribution::kPeaked, as far as it is no plain random number. Hidden states carry two
// marks: channel 0 is the same in all tokens, channel 1 is set in those at the first topk positions
// of their request. Of the first, q_a and iq make an index query along one direction u in every
// head, and iw weights above zero; of the second, ik makes a key along u. u leaves out the rotated
// dimensions, in which it would differ by position.
//
// A marked key and a query have a product of 64 * 4 * 4/3 = 341, give or take 13; any other key one
// of 0, give or take 33, of which relu leaves half. So the two are apart by five deviations of
// both, and every token with more than topk visible positions selects exactly the first topk.

// Puts the marks' rows and columns into weights of normal scores.
void peak_weights(const LayerSpec& spec, std::uint64_t seed, LayerWeights& weights);

// The first two channels of a token's hidden state, bf16.
inline constexpr int kMarks = 2;
std::array<std::uint16_t, kMarks> token_marks(std::int64_t position, int topk);

// An element of a marked token's index key after LayerNorm, of its normal part.
float marked_key(float normal, int dim);

}  // namespace dsaperf::op
