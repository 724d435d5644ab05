#include "dsaperf/op/past_tokens.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/peaked_scores.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>

namespace dsaperf::op {
namespace {

using kernels::kIndexDim;
using kernels::kLatentDim;
using kernels::kRopeDim;

constexpr std::int64_t kTokensPerChunk = 16384;
constexpr std::uint64_t kFirstStream = 1024;  // below it: weights and x

// A chunk of past tokens in the backend's memory.
struct Chunk {
  Buffer latent, rope, keys, values, scales, slots;

  static Result<Chunk> create(Backend& backend, std::int64_t tokens) {
    Chunk chunk;
    for (const auto& [buffer, bytes] : {std::pair{&chunk.latent, 2 * kLatentDim},
                                        {&chunk.rope, 2 * kRopeDim},
                                        {&chunk.keys, 2 * kIndexDim},
                                        {&chunk.values, kIndexDim},
                                        {&chunk.scales, 4},
                                        {&chunk.slots, 8}}) {
      DSAPERF_TRY_ASSIGN(*buffer, backend.allocate(tokens * bytes));
    }
    return chunk;
  }
};

Result<void> fill_latents(Backend& backend, CacheManager& cache, const Chunk& chunk,
                          std::int64_t first, std::int64_t count, PastSource source) {
  std::vector<std::uint16_t> latent(count * kLatentDim), rope(count * kRopeDim);
  fill_normal_bf16(source.seed, kFirstStream + 3 * source.stream, first * kLatentDim,
                   count * kLatentDim, 1, latent.data());
  fill_normal_bf16(source.seed, kFirstStream + 3 * source.stream + 1, first * kRopeDim,
                   count * kRopeDim, 1, rope.data());
  DSAPERF_TRY(backend.upload(latent.data(), latent.size() * 2, chunk.latent.data()));
  DSAPERF_TRY(backend.upload(rope.data(), rope.size() * 2, chunk.rope.data()));
  return backend.kv_cache_write(cache.kv_write(chunk.latent.data(), chunk.rope.data(),
                                               chunk.slots.as<std::int64_t>(), count));
}

Result<void> fill_index_keys(Backend& backend, CacheManager& cache, const Chunk& chunk,
                             const std::vector<std::uint16_t>& keys) {
  const std::int64_t count = static_cast<std::int64_t>(keys.size()) / kIndexDim;
  DSAPERF_TRY(backend.upload(keys.data(), keys.size() * 2, chunk.keys.data()));
  DSAPERF_TRY(backend.indexer_quantise({.x = chunk.keys.data(),
                                        .values = chunk.values.as<std::uint8_t>(),
                                        .scales = chunk.scales.as<float>(),
                                        .rows = count,
                                        .x_stride = kIndexDim}));
  return backend.index_key_cache_write(
      cache.index_key_write(chunk.values.as<std::uint8_t>(), chunk.scales.as<float>(),
                            chunk.slots.as<std::int64_t>(), count));
}

}  // namespace

Result<std::vector<std::uint16_t>> past_index_keys(const LayerSpec& spec,
                                                   const LayerWeights& weights, PastSource source,
                                                   std::int64_t first, std::int64_t count) {
  std::vector<std::uint16_t> keys(count * kIndexDim);
  const auto frequencies = kernels::rope_frequencies(spec.rope, kRopeDim);
  const bool peaked = weights.scores == ScoreDistribution::kPeaked;
  std::atomic<bool> refused = false;
  constexpr std::int64_t kTokensPerTask = 1024;
  kernels::cpu::parallel_ranges(
      count, kTokensPerTask, kernels::cpu::available_threads(),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin * kIndexDim; i < end * kIndexDim; ++i) {
          const auto dim = static_cast<int>(i % kIndexDim);
          const float normal = normal_at(source.seed, kFirstStream + 3 * source.stream + 2,
                                         static_cast<std::uint64_t>(first * kIndexDim + i));
          const bool marked = peaked && first + i / kIndexDim < spec.topk;
          keys[i] = kernels::bf16_from_float((marked ? marked_key(normal, dim) : normal) *
                                                 weights.k_norm[dim] +
                                             weights.k_norm_bias[dim]);
        }
        std::vector<std::int32_t> positions(end - begin);
        std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(first + begin));
        const auto table = kernels::rope_table(frequencies, positions);
        std::iota(positions.begin(), positions.end(), 0);  // rows of the table
        const auto rotated = kernels::rope_reference({.x = keys.data() + begin * kIndexDim,
                                                      .cos_sin = table.data(),
                                                      .positions = positions.data(),
                                                      .tokens = end - begin,
                                                      .table_rows = end - begin,
                                                      .heads = 1,
                                                      .dim = kRopeDim,
                                                      .token_stride = kIndexDim,
                                                      .head_stride = kIndexDim,
                                                      .pairs = spec.index_rope});
        if (!rotated) refused = true;
      });
  if (refused) return fail(Errc::kInvalidArgument, "past tokens: index keys cannot be rotated");
  return keys;
}

Result<void> fill_past(Backend& backend, CacheManager& cache, const LayerSpec& spec,
                       const LayerWeights& weights, RequestId request, std::int64_t tokens,
                       PastSource source) {
  DSAPERF_TRY_ASSIGN(const auto slots, cache.append(request, tokens));
  DSAPERF_TRY_ASSIGN(const auto chunk, Chunk::create(backend, std::min(tokens, kTokensPerChunk)));
  for (std::int64_t first = 0; first < tokens; first += kTokensPerChunk) {
    const std::int64_t count = std::min(kTokensPerChunk, tokens - first);
    DSAPERF_TRY(backend.upload(&slots[first], count * 8, chunk.slots.data()));
    DSAPERF_TRY(fill_latents(backend, cache, chunk, first, count, source));
    if (!cache.options().index_keys) continue;
    DSAPERF_TRY_ASSIGN(const auto keys, past_index_keys(spec, weights, source, first, count));
    DSAPERF_TRY(fill_index_keys(backend, cache, chunk, keys));
  }
  return backend.synchronise();
}

}  // namespace dsaperf::op
