// The GPU entry points of sparse attention: checks, then the choice of variant.
#include "dsaperf/kernels/plain/sparse_mla.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/shape.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/sparse_mla_plain.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <algorithm>
#include <cstdint>

namespace dsaperf::kernels {
namespace {

bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

// Rows are copied, and outputs stored, 16 bytes at a time.
Result<void> check_alignment(const SparseMlaParams& p) {
  if (!aligned(p.q) || !aligned(p.kv.data) || !aligned(p.out))
    return fail(Errc::kInvalidArgument, "sparse_mla: q, kv.data and out must be 16-byte aligned");
  if (p.q_head_stride % 8 != 0 || p.q_token_stride % 8 != 0 || p.out_head_stride % 8 != 0 ||
      p.out_token_stride % 8 != 0)
    return fail(Errc::kInvalidArgument,
                "sparse_mla: strides of q and out must be multiples of 8 elements");
  if (p.kv.row_stride_bytes % 16 != 0)
    return fail(Errc::kInvalidArgument,
                "sparse_mla: kv.row_stride_bytes {} is not a multiple of 16",
                p.kv.row_stride_bytes);
  return {};
}

SparseMlaParams tokens_of(const SparseMlaParams& params, std::int64_t first, std::int64_t count) {
  SparseMlaParams part = params;
  part.q = static_cast<const std::uint16_t*>(params.q) + first * params.q_token_stride;
  part.indices = params.indices + first * params.indices_stride;
  if (params.topk_length != nullptr) part.topk_length = params.topk_length + first;
  part.out = static_cast<std::uint16_t*>(params.out) + first * params.out_token_stride;
  if (params.lse != nullptr) part.lse = params.lse + first * params.lse_stride;
  part.tokens = count;
  return part;
}

bool two_producers(Variant variant) {
  return variant == Variant::kTwoProducers || variant == Variant::kTwoProducersSplit;
}

bool few_heads(Variant variant, const SparseMlaParams& params) {
  return variant == Variant::kFewHeads && params.kv.format == KvRows::Format::kBf16 &&
         params.heads <= 32;
}

bool splits(Variant variant) {
  return variant == Variant::kSplit || variant == Variant::kTwoProducersSplit;
}

int parts_of(const SparseMlaParams& params, int sm_count) {
  constexpr int kBlock = 64;
  return split_parts(params.tokens * sm90::sparse_mla::head_tiles(params.heads), params.heads,
                     (params.topk + kBlock - 1) / kBlock, sm_count);
}

Result<void> run_split(const SparseMlaParams& params, Variant variant, void* workspace,
                       std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  const int parts = parts_of(params, sm_count);
  const std::size_t needed = sparse_mla_variant_workspace(params, variant, sm_count);
  if (parts < 2)
    return fail(Errc::kUnsupported, "sparse_mla: {} tokens of {} heads leave no SMs to split over",
                params.tokens, params.heads);
  if (workspace == nullptr || workspace_size < needed)
    return fail(Errc::kInvalidArgument, "sparse_mla: {} bytes of workspace, {} needed",
                workspace_size, needed);
  if (!aligned(workspace))
    return fail(Errc::kInvalidArgument, "sparse_mla: workspace must be 16-byte aligned");
  using namespace sm90::sparse_mla;
  if (params.kv.format == KvRows::Format::kBf16) {
    DSAPERF_CUDA_TRY(
        (launch_parts<KvRows::Format::kBf16, 1>(params, parts, workspace, sm_count, stream)));
  } else if (two_producers(variant)) {
    DSAPERF_CUDA_TRY(
        (launch_parts<KvRows::Format::kFp8, 2>(params, parts, workspace, sm_count, stream)));
  } else {
    DSAPERF_CUDA_TRY(
        (launch_parts<KvRows::Format::kFp8, 1>(params, parts, workspace, sm_count, stream)));
  }
  return {};
}

Result<void> run_planned(const SparseMlaParams& params, Variant variant, CUstream_st* stream) {
  using namespace sm90::sparse_mla;
  DSAPERF_TRY_ASSIGN(const auto plan, choose_plan(params));
  for (const auto& each : plan.launches) {
    if (each.tokens == 0) continue;
    const SparseMlaParams part = tokens_of(params, each.first_token, each.tokens);
    if (params.kv.format == KvRows::Format::kBf16) {
      DSAPERF_CUDA_TRY((launch<KvRows::Format::kBf16, 1>(part, each.shape, stream)));
    } else if (two_producers(variant)) {
      DSAPERF_CUDA_TRY((launch<KvRows::Format::kFp8, 2>(part, each.shape, stream)));
    } else {
      DSAPERF_CUDA_TRY((launch<KvRows::Format::kFp8, 1>(part, each.shape, stream)));
    }
  }
  return {};
}

Result<void> run_few_heads(const SparseMlaParams& params, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  using namespace sm90::sparse_mla;
  if (params.heads == 8) {
    DSAPERF_CUDA_TRY(launch_few_heads<8>(params, sm_count, stream));
  } else if (params.heads == 16) {
    DSAPERF_CUDA_TRY(launch_few_heads<16>(params, sm_count, stream));
  } else {
    DSAPERF_CUDA_TRY(launch_few_heads<32>(params, sm_count, stream));
  }
  return {};
}

}  // namespace

TunedShape sparse_mla_shape(const SparseMlaParams& params, TunedKernel kernel) {
  return {.kernel = kernel,
          .fp8 = params.kv.format == KvRows::Format::kFp8,
          .heads = params.heads,
          .rows = params.tokens,
          .columns = params.topk};
}

std::size_t sparse_mla_variant_workspace(const SparseMlaParams& params, Variant variant,
                                         int sm_count) {
  const int parts = splits(variant) ? parts_of(params, sm_count) : 1;
  return parts < 2 ? 0
                   : sm90::sparse_mla::parts_workspace(
                         params.tokens * sm90::sparse_mla::head_tiles(params.heads), parts);
}

Result<void> sparse_mla_variant(const SparseMlaParams& params, Variant variant, void* workspace,
                                std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY(sparse_mla_check(params));
  if (params.tokens == 0) return {};
  DSAPERF_TRY(check_alignment(params));
  const bool known = variant == Variant::kDefault || variant == Variant::kSplit ||
                     few_heads(variant, params) ||
                     (two_producers(variant) && params.kv.format == KvRows::Format::kFp8);
  if (!known)
    return fail(Errc::kUnsupported, "sparse_mla: no variant {} of {} heads and rows of this format",
                name(variant), params.heads);
  if (splits(variant)) return run_split(params, variant, workspace, workspace_size, stream);
  if (few_heads(variant, params)) return run_few_heads(params, stream);
  return run_planned(params, variant, stream);
}

Result<std::size_t> sparse_mla_decode_workspace(const SparseMlaParams& params, int sm_count) {
  DSAPERF_TRY(sparse_mla_check(params));
  DSAPERF_TRY_ASSIGN(const Variant variant,
                     tuned_variant(sparse_mla_shape(params, TunedKernel::kSparseDecode)));
  return sparse_mla_variant_workspace(params, variant, sm_count);
}

Result<void> sparse_mla_prefill(const SparseMlaParams& params, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const Variant variant,
                     tuned_variant(sparse_mla_shape(params, TunedKernel::kSparsePrefill)));
  return sparse_mla_variant(params, variant, nullptr, 0, stream);
}

Result<void> sparse_mla_decode(const SparseMlaParams& params, void* workspace,
                               std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const Variant variant,
                     tuned_variant(sparse_mla_shape(params, TunedKernel::kSparseDecode)));
  return sparse_mla_variant(params, variant, workspace, workspace_size, stream);
}

Result<void> sparse_mla_plain(const SparseMlaParams& params, CUstream_st* stream) {
  DSAPERF_TRY(sparse_mla_check(params));
  if (params.tokens == 0) return {};
  if (params.topk > plain::kMaxTopk)
    return fail(Errc::kUnsupported, "sparse_mla_plain: topk {} > {}", params.topk, plain::kMaxTopk);
  DSAPERF_CUDA_TRY(plain::launch_sparse_mla(params, stream));
  return {};
}

}  // namespace dsaperf::kernels
