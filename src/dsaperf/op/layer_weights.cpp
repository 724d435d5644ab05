#include "dsaperf/op/layer_weights.hpp"

#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/peaked_scores.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace dsaperf::op {
namespace {

using kernels::bf16_to_float;
using kernels::kIndexDim;
using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kQuantGroup;

// Streams of the random numbers, one a tensor; x and the past tokens have theirs elsewhere (16 on).
enum Stream : std::uint64_t { kQA, kKvA, kQB, kKvB, kO, kIq, kIk, kIw, kQNorm, kKvNorm, kKBias };

constexpr std::array<std::string_view, 4> kDistributionNames = {"normal", "flat", "tied", "peaked"};

Matrix random_matrix(std::uint64_t seed, Stream stream, std::int64_t rows, std::int64_t columns) {
  Matrix matrix{
      .rows = rows, .columns = columns, .bf16 = std::vector<std::uint16_t>(rows * columns)};
  fill_normal_bf16(seed, stream, 0, rows * columns, 1 / std::sqrt(static_cast<float>(columns)),
                   matrix.bf16.data());
  return matrix;
}

std::vector<float> near_one(std::uint64_t seed, Stream stream, int size) {
  std::vector<float> values(size);
  for (int i = 0; i < size; ++i)
    values[i] = 1 + 0.1F * normal_at(seed, stream, static_cast<std::uint64_t>(i));
  return values;
}

}  // namespace

std::string_view name(ScoreDistribution distribution) {
  return kDistributionNames[static_cast<std::size_t>(distribution)];
}

std::optional<ScoreDistribution> score_distribution_from_name(std::string_view name) {
  const auto* found = std::find(kDistributionNames.begin(), kDistributionNames.end(), name);
  if (found == kDistributionNames.end()) return std::nullopt;
  return static_cast<ScoreDistribution>(found - kDistributionNames.begin());
}

void quantise_blocks(Matrix& matrix) {
  const std::int64_t block_rows = scale_groups(matrix.rows);
  const std::int64_t block_columns = scale_groups(matrix.columns);
  matrix.fp8.resize(matrix.bf16.size());
  matrix.scales.resize(block_rows * block_columns);
  kernels::cpu::parallel_for(
      block_rows, kernels::cpu::available_threads(), [&](std::int64_t block_row) {
        const std::int64_t row_end = std::min((block_row + 1) * kQuantGroup, matrix.rows);
        for (std::int64_t block = 0; block < block_columns; ++block) {
          const std::int64_t end = std::min((block + 1) * kQuantGroup, matrix.columns);
          double absmax = 0;
          const auto for_each = [&](const auto& visit) {
            for (std::int64_t r = block_row * kQuantGroup; r < row_end; ++r)
              for (std::int64_t c = block * kQuantGroup; c < end; ++c)
                visit(r * matrix.columns + c);
          };
          for_each([&](std::int64_t i) {
            absmax = std::max(absmax, std::abs(double{bf16_to_float(matrix.bf16[i])}));
          });
          const float scale = kernels::e4m3_scale(absmax, kernels::ScaleFormat::kUe8m0);
          matrix.scales[block_row * block_columns + block] = scale;
          for_each([&](std::int64_t i) {
            matrix.fp8[i] = kernels::e4m3_from(double{bf16_to_float(matrix.bf16[i])} / scale);
            matrix.bf16[i] =
                kernels::bf16_from_float(kernels::e4m3_to_float(matrix.fp8[i]) * scale);
          });
        }
      });
}

LayerWeights random_weights(const LayerSpec& spec, std::uint64_t seed,
                            ScoreDistribution distribution) {
  LayerWeights weights;
  weights.scores = distribution;
  weights.q_a = random_matrix(seed, kQA, spec.q_lora, spec.hidden);
  weights.kv_a = random_matrix(seed, kKvA, kKeyDim, spec.hidden);
  weights.q_b = random_matrix(seed, kQB, std::int64_t{spec.heads} * spec.query_dim(), spec.q_lora);
  weights.kv_b =
      random_matrix(seed, kKvB, std::int64_t{spec.heads} * (spec.nope + spec.v), kLatentDim);
  weights.o = random_matrix(seed, kO, spec.hidden, std::int64_t{spec.heads} * spec.v);
  weights.q_a_norm = near_one(seed, kQNorm, spec.q_lora);
  weights.kv_a_norm = near_one(seed, kKvNorm, kLatentDim);
  if (spec.has_indexer) {
    weights.iq = random_matrix(seed, kIq, std::int64_t{spec.index_heads} * kIndexDim, spec.q_lora);
    weights.ik = random_matrix(seed, kIk, kIndexDim, spec.hidden);
    weights.iw = random_matrix(seed, kIw, spec.index_heads, spec.hidden);
    weights.k_norm.assign(kIndexDim, 1);
    weights.k_norm_bias.assign(kIndexDim, 0);
    if (distribution == ScoreDistribution::kFlat) {
      // A large common part, and a 64th of it that differs. The common part avoids the rotated
      // dimensions, where it would differ by position.
      weights.k_norm.assign(kIndexDim, 1.0F / 64);
      for (int d = kernels::kRopeDim; d < kIndexDim; ++d)
        weights.k_norm_bias[d] = normal_at(seed, kKBias, static_cast<std::uint64_t>(d));
    }
    if (distribution == ScoreDistribution::kTied)
      std::fill(weights.iw.bf16.begin() + spec.hidden, weights.iw.bf16.end(), std::uint16_t{0});
    if (distribution == ScoreDistribution::kPeaked) peak_weights(spec, seed, weights);
  }
  if (spec.projections == Projections::kFp8Block)
    for (Matrix* matrix : {&weights.q_a, &weights.kv_a, &weights.q_b, &weights.kv_b, &weights.o,
                           &weights.iq, &weights.ik})
      quantise_blocks(*matrix);
  return weights;
}

}  // namespace dsaperf::op
