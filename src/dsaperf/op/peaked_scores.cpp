#include "dsaperf/op/peaked_scores.hpp"

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::op {
namespace {

using kernels::bf16_from_float;
using kernels::kIndexDim;

constexpr std::uint64_t kPeakStream = 19;  // weights, x and selections have those below
constexpr float kMark = 4;                 // in a hidden state, and of u in keys and queries

// u: signs that cancel in pairs, so that LayerNorm's mean leaves them.
float direction(int dim) {
  if (dim < kernels::kRopeDim) return 0;
  const bool flipped = (bits_at(0, kPeakStream, static_cast<std::uint64_t>(dim / 2)) & 1) != 0;
  return (dim % 2 == 0) == flipped ? -1.0F : 1.0F;
}

}  // namespace

void peak_weights(const LayerSpec& spec, std::uint64_t seed, LayerWeights& weights) {
  // One row of q_a reads the mark alone and is as large as all others together, so RMSNorm leaves
  // it sqrt(q_lora / 2) and halves their variance.
  const float q_lora = static_cast<float>(spec.q_lora);
  std::fill_n(weights.q_a.bf16.begin(), spec.hidden, std::uint16_t{0});
  weights.q_a.bf16[0] = bf16_from_float(std::sqrt(q_lora) / kMark);
  for (std::int64_t row = 0; row < weights.iq.rows; ++row) {
    const float u = direction(static_cast<int>(row % kIndexDim));
    if (u != 0)
      weights.iq.bf16[row * spec.q_lora] = bf16_from_float(kMark * u * std::sqrt(2 / q_lora));
  }
  for (int d = 0; d < kIndexDim; ++d)
    weights.ik.bf16[std::int64_t{d} * spec.hidden + 1] = bf16_from_float(direction(d));
  std::fill(weights.iw.bf16.begin(), weights.iw.bf16.end(), std::uint16_t{0});
  for (int h = 0; h < spec.index_heads; ++h) {
    const float drawn = normal_at(seed, kPeakStream, static_cast<std::uint64_t>(h));  // |it| < 3.5
    weights.iw.bf16[std::int64_t{h} * spec.hidden] = bf16_from_float((1 + drawn / 4) / kMark);
  }
}

std::array<std::uint16_t, kMarks> token_marks(std::int64_t position, int topk) {
  return {bf16_from_float(kMark), bf16_from_float(position < topk ? kMark : 0)};
}

float marked_key(float normal, int dim) {
  // Half of the dimensions have the mark: variance 1 + kMark^2 / 2 before LayerNorm.
  return (normal + kMark * direction(dim)) / std::sqrt(1 + kMark * kMark / 2);
}

}  // namespace dsaperf::op
