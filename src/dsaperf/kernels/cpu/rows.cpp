#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

// Stages whose rows are independent: the reference on ranges of rows, or a quicker exact algorithm.
namespace dsaperf::kernels::cpu {
namespace {

constexpr std::int64_t kRowsPerTask = 256;

}  // namespace

int available_threads() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return std::max(1, CPU_COUNT(&cores));
}

Result<void> rope(const RopeParams& params, int threads) {
  DSAPERF_TRY(rope_check(params));
  std::vector<Result<void>> results(ceil_div(params.tokens, kRowsPerTask));
  parallel_ranges(params.tokens, kRowsPerTask, threads, [&](std::int64_t begin, std::int64_t end) {
    RopeParams part = params;
    part.x = static_cast<std::uint16_t*>(params.x) + begin * params.token_stride;
    if (params.source != nullptr)
      part.source =
          static_cast<const std::uint16_t*>(params.source) + begin * params.source_token_stride;
    part.positions = params.positions + begin;
    part.tokens = end - begin;
    results[begin / kRowsPerTask] = rope_reference(part);
  });
  for (auto& result : results) DSAPERF_TRY(std::move(result));
  return {};
}

Result<void> indexer_quantise(const IndexerQuantiseParams& params, int threads) {
  DSAPERF_TRY(indexer_quantise_check(params));
  std::vector<Result<void>> results(ceil_div(params.rows, kRowsPerTask));
  parallel_ranges(params.rows, kRowsPerTask, threads, [&](std::int64_t begin, std::int64_t end) {
    IndexerQuantiseParams part = params;
    part.x = static_cast<const std::uint16_t*>(params.x) + begin * params.x_stride;
    part.values = params.values + begin * 128;
    if (params.scales != nullptr) part.scales = params.scales + begin;
    if (params.weights != nullptr) {
      part.weights = params.weights + begin;
      part.weights_out = params.weights_out + begin;
    }
    part.rows = end - begin;
    results[begin / kRowsPerTask] = indexer_quantise_reference(part);
  });
  for (auto& result : results) DSAPERF_TRY(std::move(result));
  return {};
}

Result<void> kv_cache_write(const KvCacheWriteParams& params, int threads) {
  DSAPERF_TRY(kv_cache_write_check(params));
  std::vector<Result<void>> results(ceil_div(params.tokens, kRowsPerTask));
  parallel_ranges(params.tokens, kRowsPerTask, threads, [&](std::int64_t begin, std::int64_t end) {
    KvCacheWriteParams part = params;
    part.latent = static_cast<const std::uint16_t*>(params.latent) + begin * params.latent_stride;
    part.rope = static_cast<const std::uint16_t*>(params.rope) + begin * params.rope_stride;
    part.slots = params.slots + begin;
    part.tokens = end - begin;
    results[begin / kRowsPerTask] = kv_cache_write_reference(part);
  });
  for (auto& result : results) DSAPERF_TRY(std::move(result));
  return {};
}

// The reference's order (score, then position; NaN last) by selection instead of a full sort, so
// the sets are equal, ties included.
Result<void> topk(const TopkParams& params, int threads) {
  DSAPERF_TRY(topk_check(params));
  const auto& p = params;
  parallel_for(p.rows, threads, [&](std::int64_t r) {
    const std::int64_t start =
        p.start == nullptr ? 0 : std::clamp<std::int64_t>(p.start[r], 0, p.columns);
    const std::int64_t end =
        p.end == nullptr ? p.columns : std::clamp<std::int64_t>(p.end[r], start, p.columns);
    const float* scores = end > start ? p.scores + r * p.scores_stride + start : nullptr;
    std::vector<std::int32_t> order(end - start);
    std::iota(order.begin(), order.end(), 0);
    const auto before = [scores](std::int32_t a, std::int32_t b) {
      const float left = scores[a];
      const float right = scores[b];
      if (left > right) return true;
      if (left < right) return false;
      const bool left_nan = std::isnan(left);
      const bool right_nan = std::isnan(right);
      return left_nan == right_nan ? a < b : right_nan;
    };
    if (std::cmp_greater(order.size(), p.topk))
      std::nth_element(order.begin(), order.begin() + p.topk, order.end(), before);
    order.resize(p.topk, -1);
    std::copy(order.begin(), order.end(), p.indices + r * p.indices_stride);
  });
  return {};
}

}  // namespace dsaperf::kernels::cpu
