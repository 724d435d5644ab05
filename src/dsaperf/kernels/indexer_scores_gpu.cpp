#include "dsaperf/kernels/indexer_scores.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/arguments.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "dsaperf/kernels/sm90/tensor_map.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <algorithm>
#include <array>

namespace dsaperf::kernels {
namespace {

using sm90::ScoresArguments;

Result<void> check_limits(const char* name, std::int64_t rows, int heads, std::int64_t columns) {
  if (rows * heads > INT32_MAX || columns > INT32_MAX - kPageTokens)
    return fail(Errc::kUnsupported, "{}: {} rows of {} heads and {} keys do not fit an int32", name,
                rows, heads, columns);
  return {};
}

Result<void> check_weights(const char* name, const float* weights) {
  if (reinterpret_cast<std::uintptr_t>(weights) % 16 != 0)
    return fail(Errc::kUnsupported, "{}: weights must be a multiple of 16 bytes", name);
  return {};
}

// How many groups stand in a line of fewer than 2^31 tiles, and in one launch.
std::int64_t most_groups(std::int64_t keys) {
  const std::int64_t of_group = keys / kPageTokens + 1 + sm90::kGroupCost;
  return std::min<std::int64_t>(sm90::kMaxGroups, INT32_MAX / of_group);
}

// Queries as the copy engine reads them: one row of bytes a head.
Result<CUtensorMap> query_map(const std::uint8_t* q, std::int64_t rows, int heads, int columns) {
  const std::array axes{sm90::TensorMapAxis{kIndexDim, 0, kIndexDim},
                        sm90::TensorMapAxis{static_cast<std::uint64_t>(rows * heads), kIndexDim,
                                            static_cast<std::uint32_t>(columns)}};
  return sm90::make_tensor_map(q, sm90::TensorMapElement::kByte, axes,
                               sm90::TensorMapSwizzle::k128Bytes)
      .map_error([](Error error) { return std::move(error).with_context("q"); });
}

cudaError_t launch_prefill(const ScoresArguments& arguments, int heads, Variant variant,
                           int sm_count, cudaStream_t stream) {
  if (variant == Variant::kEarly) {
    return heads == 32 ? sm90::launch_early_prefill_scores<32>(arguments, sm_count, stream)
                       : sm90::launch_early_prefill_scores<64>(arguments, sm_count, stream);
  }
  switch (heads) {
    case 8:
      return sm90::launch_prefill_scores<8>(arguments, sm_count, stream);
    case 16:
      return sm90::launch_prefill_scores<16>(arguments, sm_count, stream);
    case 32:
      return sm90::launch_prefill_scores<32>(arguments, sm_count, stream);
    default:
      return sm90::launch_prefill_scores<64>(arguments, sm_count, stream);
  }
}

// Columns of one accumulator for q_len * heads columns of a request.
int paged_columns(int columns) {
  return columns <= 64 ? 64 : columns <= 128 ? 128 : 256;
}

template <int kHeads>
cudaError_t launch_early_paged(const ScoresArguments& arguments, Variant variant, int sm_count,
                               cudaStream_t stream) {
  if (variant == Variant::kEarlyFour)
    return sm90::launch_lean_paged_scores<kHeads>(arguments, sm_count, stream);
  switch (paged_columns(arguments.q_len * kHeads)) {
    case 64:
      return sm90::launch_early_paged_scores<kHeads, 64>(arguments, sm_count, stream);
    case 128:
      return sm90::launch_early_paged_scores<kHeads, 128>(arguments, sm_count, stream);
    default:
      return sm90::launch_early_paged_scores<kHeads, 256>(arguments, sm_count, stream);
  }
}

cudaError_t launch_paged(const ScoresArguments& arguments, int heads, Variant variant, int sm_count,
                         cudaStream_t stream) {
  if (variant != Variant::kDefault) {
    return heads == 32 ? launch_early_paged<32>(arguments, variant, sm_count, stream)
                       : launch_early_paged<64>(arguments, variant, sm_count, stream);
  }
  const int columns = paged_columns(arguments.q_len * heads);
  switch (heads) {
    case 8:
      return sm90::launch_paged_scores<8, 64, false>(arguments, sm_count, stream);
    case 16:
      return columns == 64 ? sm90::launch_paged_scores<16, 64, false>(arguments, sm_count, stream)
                           : sm90::launch_paged_scores<16, 128, false>(arguments, sm_count, stream);
    case 32:
      return columns == 64 ? sm90::launch_paged_scores<32, 64, false>(arguments, sm_count, stream)
             : columns == 128
                 ? sm90::launch_paged_scores<32, 128, false>(arguments, sm_count, stream)
                 : sm90::launch_paged_scores<32, 256, false>(arguments, sm_count, stream);
    default:
      if (arguments.q_len > 4)
        return sm90::launch_paged_scores<64, 256, true>(arguments, sm_count, stream);
      return columns == 64 ? sm90::launch_paged_scores<64, 64, false>(arguments, sm_count, stream)
             : columns == 128
                 ? sm90::launch_paged_scores<64, 128, false>(arguments, sm_count, stream)
                 : sm90::launch_paged_scores<64, 256, false>(arguments, sm_count, stream);
  }
}

// Whether a variant can run this shape on any device: SMs do not matter to those of the scores.
Result<void> check_variant(const char* kernel, const TunedShape& shape, Variant variant) {
  const auto possible = variants_of(shape, 1);
  if (std::ranges::find(possible, variant) != possible.end()) return {};
  return fail(Errc::kUnsupported, "{}: variant {} cannot run {} heads and {} rows", kernel,
              name(variant), shape.heads, shape.rows);
}

}  // namespace

TunedShape indexer_scores_shape(const IndexerScoresParams& params) {
  return {.kernel = TunedKernel::kScores,
          .heads = params.heads,
          .rows = params.tokens,
          .columns = params.keys};
}

TunedShape paged_indexer_scores_shape(const PagedIndexerScoresParams& params) {
  return {.kernel = TunedKernel::kPagedScores,
          .heads = params.heads,
          .q_len = params.q_len,
          .rows = params.batch,
          .columns = params.max_context};
}

Result<void> indexer_scores(const IndexerScoresParams& params, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(indexer_scores_shape(params)));
  return indexer_scores_variant(params, variant, stream);
}

Result<void> indexer_scores_variant(const IndexerScoresParams& params, Variant variant,
                                    CUstream_st* stream) {
  DSAPERF_TRY(indexer_scores_check(params));
  DSAPERF_TRY(check_variant("indexer_scores", indexer_scores_shape(params), variant));
  const auto& p = params;
  if (p.tokens == 0 || p.keys == 0) return {};
  DSAPERF_TRY(check_limits("indexer_scores", 1, p.heads, p.keys));
  const std::int64_t most = most_groups(p.keys) * sm90::prefill_group_rows(p.heads);
  if (p.tokens > most) {  // a launch knows only so many groups
    auto part = p;
    for (std::int64_t first = 0; first < p.tokens; first += most) {
      part.q = p.q + first * p.heads * p.dim;
      part.weights = p.weights + first * p.heads;
      part.start = p.start + first;
      part.end = p.end + first;
      part.scores = p.scores + first * p.scores_stride;
      part.tokens = std::min(most, p.tokens - first);
      DSAPERF_TRY(indexer_scores_variant(part, variant, stream));
    }
    return {};
  }
  DSAPERF_TRY(check_limits("indexer_scores", p.tokens, p.heads, p.keys));
  DSAPERF_TRY(check_weights("indexer_scores", p.weights));
  const int group_rows = sm90::prefill_group_rows(p.heads);
  ScoresArguments arguments{
      .weights = p.weights,
      .start = p.start,
      .end = p.end,
      .scores = p.scores,
      .scores_stride = p.scores_stride,
      .groups = static_cast<std::int32_t>((p.tokens + group_rows - 1) / group_rows),
      .rows = static_cast<std::int32_t>(p.tokens),
      .keys = static_cast<std::int32_t>(p.keys),
      .columns = static_cast<std::int32_t>(p.keys)};
  const auto keys = static_cast<std::uint64_t>(p.keys);
  const std::array k_axes{sm90::TensorMapAxis{kIndexDim, 0, kIndexDim},
                          sm90::TensorMapAxis{keys, kIndexDim, kPageTokens}};
  const std::array scale_axes{sm90::TensorMapAxis{keys, 0, kPageTokens}};
  DSAPERF_TRY_ASSIGN(arguments.q, query_map(p.q, p.tokens, p.heads, sm90::kPrefillColumns));
  DSAPERF_TRY_ASSIGN(arguments.k, sm90::make_tensor_map(p.k, sm90::TensorMapElement::kByte, k_axes,
                                                        sm90::TensorMapSwizzle::k128Bytes));
  DSAPERF_TRY_ASSIGN(arguments.k_scales,
                     sm90::make_tensor_map(p.k_scales, sm90::TensorMapElement::kFloat, scale_axes,
                                           sm90::TensorMapSwizzle::kNone));
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  DSAPERF_CUDA_TRY(launch_prefill(arguments, p.heads, variant, sm_count, stream));
  if (p.outside == OutsideScores::kMinusInfinity)
    DSAPERF_CUDA_TRY(sm90::launch_fill_outside(arguments, false, stream));
  return {};
}

Result<std::size_t> paged_indexer_scores_workspace(const PagedIndexerScoresParams& params,
                                                   int /*sm_count*/) {
  DSAPERF_TRY(paged_indexer_scores_check(params));
  return std::size_t{0};  // each CTA finds its share of the pages by itself
}

Result<void> paged_indexer_scores(const PagedIndexerScoresParams& params, void* /*workspace*/,
                                  std::size_t /*workspace_size*/, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(paged_indexer_scores_shape(params)));
  return paged_indexer_scores_variant(params, variant, stream);
}

Result<sm90::ScoresArguments> sm90::paged_scores_arguments(const PagedIndexerScoresParams& params,
                                                           int box_columns) {
  DSAPERF_TRY(paged_indexer_scores_check(params));
  const auto& p = params;
  const std::int64_t rows = p.batch * p.q_len;
  DSAPERF_TRY(check_limits("paged_indexer_scores", rows, p.heads, p.max_context));
  if (p.batch > most_groups(p.max_context))
    return fail(Errc::kUnsupported,
                "paged_indexer_scores: {} requests are more than the {} of one launch: split the "
                "batch",
                p.batch, most_groups(p.max_context));
  DSAPERF_TRY(check_weights("paged_indexer_scores", p.weights));
  if (reinterpret_cast<std::uintptr_t>(p.pages) % 16 != 0 || p.page_stride_bytes % 16 != 0)
    return fail(Errc::kUnsupported,
                "paged_indexer_scores: pages and page_stride_bytes must be multiples of 16");
  ScoresArguments arguments{
      .weights = p.weights,
      .pages = p.pages,
      .block_table = p.block_table,
      .context_length = p.context_length,
      .scores = p.scores,
      .page_stride_bytes = p.page_stride_bytes,
      .block_table_stride = p.block_table_stride,
      .scores_stride = p.scores_stride,
      .groups = static_cast<std::int32_t>(p.batch),
      .rows = static_cast<std::int32_t>(rows),
      .q_len = p.q_len,
      .keys =
          static_cast<std::int32_t>(std::min(p.max_context, p.block_table_stride * kPageTokens)),
      .columns = static_cast<std::int32_t>(p.max_context),
      .keys_given_up = keys_given_up(p.batch * p.max_context * kIndexKeyBytes)};
  // How many pages there are is the caller's affair: block_table names none that is not there.
  constexpr std::uint64_t kPages = INT32_MAX;
  const std::array page_axes{
      sm90::TensorMapAxis{kIndexDim, 0, kIndexDim},
      sm90::TensorMapAxis{kPageTokens, kIndexDim, kPageTokens},
      sm90::TensorMapAxis{kPages, static_cast<std::uint64_t>(p.page_stride_bytes), 1}};
  DSAPERF_TRY_ASSIGN(arguments.q, query_map(p.q, rows, p.heads, box_columns));
  DSAPERF_TRY_ASSIGN(arguments.k,
                     sm90::make_tensor_map(p.pages, sm90::TensorMapElement::kByte, page_axes,
                                           sm90::TensorMapSwizzle::k128Bytes));
  return arguments;
}

Result<void> paged_indexer_scores_variant(const PagedIndexerScoresParams& params, Variant variant,
                                          CUstream_st* stream) {
  DSAPERF_TRY(paged_indexer_scores_check(params));
  DSAPERF_TRY(check_variant("paged_indexer_scores", paged_indexer_scores_shape(params), variant));
  const auto& p = params;
  if (p.batch == 0 || p.max_context == 0) return {};
  DSAPERF_TRY_ASSIGN(auto arguments,
                     sm90::paged_scores_arguments(p, paged_columns(p.q_len * p.heads)));
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  DSAPERF_CUDA_TRY(launch_paged(arguments, p.heads, variant, sm_count, stream));
  if (p.outside == OutsideScores::kMinusInfinity)
    DSAPERF_CUDA_TRY(sm90::launch_fill_outside(arguments, true, stream));
  return {};
}

}  // namespace dsaperf::kernels
