// The GPU entry points of sparse attention: checks, then the choice of variant.
#include "dsaperf/kernels/plain/sparse_mla.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/shape.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/sparse_mla_plain.hpp"

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

Result<void> run(const SparseMlaParams& params, CUstream_st* stream) {
  DSAPERF_TRY(sparse_mla_check(params));
  if (params.tokens == 0) return {};
  DSAPERF_TRY(check_alignment(params));
  DSAPERF_TRY_ASSIGN(const auto plan, sm90::sparse_mla::choose_plan(params));
  for (const auto& launch : plan.launches) {
    if (launch.tokens == 0) continue;
    const SparseMlaParams part = tokens_of(params, launch.first_token, launch.tokens);
    if (params.kv.format == KvRows::Format::kFp8) {
      DSAPERF_CUDA_TRY(sm90::sparse_mla::launch<KvRows::Format::kFp8>(part, launch.shape, stream));
    } else {
      DSAPERF_CUDA_TRY(sm90::sparse_mla::launch<KvRows::Format::kBf16>(part, launch.shape, stream));
    }
  }
  return {};
}

}  // namespace

Result<std::size_t> sparse_mla_decode_workspace(const SparseMlaParams& params, int /*sm_count*/) {
  DSAPERF_TRY(sparse_mla_check(params));
  return std::size_t{0};  // split lists merge in distributed shared memory
}

Result<void> sparse_mla_prefill(const SparseMlaParams& params, CUstream_st* stream) {
  return run(params, stream);
}

Result<void> sparse_mla_decode(const SparseMlaParams& params, void* /*workspace*/,
                               std::size_t /*workspace_size*/, CUstream_st* stream) {
  return run(params, stream);
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
