#include "dsaperf/op/new_tokens.hpp"

#include "dsaperf/op/peaked_scores.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>

namespace dsaperf::op {
namespace {

constexpr std::uint64_t kXStream = 16;  // weights have those below

}  // namespace

std::vector<std::uint16_t> random_hidden_states(int hidden, std::uint64_t seed,
                                                std::int64_t tokens) {
  std::vector<std::uint16_t> x(tokens * hidden);
  fill_normal_bf16(seed, kXStream, 0, static_cast<std::int64_t>(x.size()), 1, x.data());
  return x;
}

std::vector<std::uint16_t> random_new_tokens(const LayerSpec& spec, const LayerWeights& weights,
                                             std::uint64_t seed,
                                             std::span<const std::int32_t> positions) {
  auto x = random_hidden_states(spec.hidden, seed, static_cast<std::int64_t>(positions.size()));
  if (weights.scores != ScoreDistribution::kPeaked) return x;
  for (std::size_t t = 0; t < positions.size(); ++t)
    std::ranges::copy(token_marks(positions[t], spec.topk), &x[t * spec.hidden]);
  return x;
}

}  // namespace dsaperf::op
