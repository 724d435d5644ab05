#include "dsaperf/kernels/rope.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>

namespace dsaperf::kernels {

Result<void> rope_check(const RopeParams& params) {
  const auto& p = params;
  if (p.tokens < 0 || p.heads < 1 || p.table_rows < 0)
    return fail(Errc::kInvalidArgument, "rope: {} tokens of {} heads, {} table rows", p.tokens,
                p.heads, p.table_rows);
  if (p.dim < 2 || p.dim % 2 != 0)
    return fail(Errc::kInvalidArgument, "rope: dim {} is not even and positive", p.dim);
  if (p.pairs != RopePairs::kInterleaved && p.pairs != RopePairs::kHalfSplit)
    return fail(Errc::kInvalidArgument, "rope: unknown pairs");
  if (p.tokens == 0) return {};
  if (p.x == nullptr || p.cos_sin == nullptr || p.positions == nullptr)
    return fail(Errc::kInvalidArgument, "rope: a pointer is null");
  if ((p.heads > 1 && p.head_stride < p.dim) || (p.tokens > 1 && p.token_stride < p.dim))
    return fail(Errc::kInvalidArgument, "rope: a stride is less than dim {}", p.dim);
  if (p.source != nullptr && ((p.heads > 1 && p.source_head_stride < p.dim) ||
                              (p.tokens > 1 && p.source_token_stride < p.dim)))
    return fail(Errc::kInvalidArgument, "rope: a stride of the source is less than dim {}", p.dim);
  return {};
}

Result<void> rope_reference(const RopeParams& params) {
  DSAPERF_TRY(rope_check(params));
  const auto& p = params;
  for (std::int64_t t = 0; t < p.tokens; ++t)
    if (p.positions[t] < 0 || p.positions[t] >= p.table_rows)
      return fail(Errc::kInvalidArgument, "rope: token {}: position {} is not in the table of {}",
                  t, p.positions[t], p.table_rows);
  const int half = p.dim / 2;
  const int step = p.pairs == RopePairs::kInterleaved ? 2 : 1;        // from pair to pair
  const int partner = p.pairs == RopePairs::kInterleaved ? 1 : half;  // within a pair
  for (std::int64_t t = 0; t < p.tokens; ++t) {
    const float* cosines = p.cos_sin + std::int64_t{p.positions[t]} * p.dim;
    const float* sines = cosines + half;
    for (int h = 0; h < p.heads; ++h) {
      auto* x = static_cast<std::uint16_t*>(p.x) + t * p.token_stride + h * p.head_stride;
      const std::uint16_t* from = p.source == nullptr
                                      ? x
                                      : static_cast<const std::uint16_t*>(p.source) +
                                            t * p.source_token_stride + h * p.source_head_stride;
      for (int i = 0; i < half; ++i) {
        const double a = bf16_to_float(from[i * step]);
        const double b = bf16_to_float(from[i * step + partner]);
        x[i * step] = bf16_from(a * cosines[i] - b * sines[i]);
        x[i * step + partner] = bf16_from(b * cosines[i] + a * sines[i]);
      }
    }
  }
  return {};
}

std::vector<double> rope_frequencies(const RopeFrequencies& rope, int dim) {
  std::vector<double> frequencies(dim / 2);
  for (int i = 0; i < dim / 2; ++i) frequencies[i] = std::pow(rope.theta, -2.0 * i / dim);
  if (rope.factor == 1) return frequencies;
  // The pair that makes this many turns within the original length.
  const auto pair_of = [&](double turns) {
    return dim * std::log(rope.original_positions / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  const double low = std::max(std::floor(pair_of(rope.beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_of(rope.beta_slow)), dim - 1.0);
  if (high == low) high += 0.001;
  for (int i = 0; i < dim / 2; ++i) {
    const double stretched = std::clamp((i - low) / (high - low), 0.0, 1.0);
    frequencies[i] *= stretched / rope.factor + (1 - stretched);
  }
  return frequencies;
}

std::vector<float> rope_table(const std::vector<double>& frequencies,
                              const std::vector<std::int32_t>& positions) {
  const std::size_t half = frequencies.size();
  std::vector<float> table(positions.size() * 2 * half);
  // Requests of a batch stand at the same positions, and a row is 64 sines and cosines.
  std::unordered_map<std::int32_t, std::size_t> row_of;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    const auto [same, is_new] = row_of.emplace(positions[t], t);
    if (!is_new) {
      std::copy_n(&table[same->second * 2 * half], 2 * half, &table[t * 2 * half]);
      continue;
    }
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = positions[t] * frequencies[i];
      table[t * 2 * half + i] = static_cast<float>(std::cos(angle));
      table[t * 2 * half + half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace dsaperf::kernels
