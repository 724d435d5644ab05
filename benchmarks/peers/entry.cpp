// C functions over the kernels' entry points: device pointers, sizes, a stream; 0 or -1, and the
// reason of the last failure on this thread. For benchmarks/peers/peers.py (ctypes).
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"

#include <algorithm>
#include <string>

namespace {

thread_local std::string last_error;

int report(const dsaperf::Result<void>& result) {
  if (result) return 0;
  last_error = result.error().message();
  return -1;
}

}  // namespace

extern "C" {

const char* dsaperf_peers_error() {
  return last_error.c_str();
}

// Packed tensors. fp8 != 0: rows of 656 bytes, else 1152. decode != 0: sparse_mla_decode. cluster 0
// leaves the choice of variant to the library; otherwise that many CTAs share a list (tuning).
int dsaperf_peers_sparse_mla(const void* q, const void* kv, int fp8, long long rows,
                             const int* indices, const int* topk_length, void* out, float* lse,
                             long long tokens, int heads, int topk, float scale, int decode,
                             int cluster, CUstream_st* stream) {
  using namespace dsaperf::kernels;
  const SparseMlaParams params{
      .q = q,
      .kv = {.data = kv,
             .format = fp8 != 0 ? KvRows::Format::kFp8 : KvRows::Format::kBf16,
             .rows = rows,
             .row_stride_bytes = fp8 != 0 ? kKvRowBytesFp8 : kKvRowBytesBf16},
      .indices = indices,
      .topk_length = topk_length,
      .out = out,
      .lse = lse,
      .tokens = tokens,
      .heads = heads,
      .topk = topk,
      .q_token_stride = std::int64_t{heads} * kKeyDim,
      .q_head_stride = kKeyDim,
      .indices_stride = topk,
      .out_token_stride = std::int64_t{heads} * kLatentDim,
      .out_head_stride = kLatentDim,
      .lse_stride = heads,
      .scale = scale};
  if (cluster > 0) {
    const std::int64_t items = tokens * sm90::sparse_mla::head_tiles(heads);
    const sm90::sparse_mla::Shape shape{
        .cluster = cluster,
        .grid =
            static_cast<int>(cluster == 1 ? std::min<std::int64_t>(items, 132) : items * cluster)};
    const cudaError_t code =
        fp8 != 0 ? sm90::sparse_mla::launch<KvRows::Format::kFp8, 1>(params, shape, stream)
                 : sm90::sparse_mla::launch<KvRows::Format::kBf16, 1>(params, shape, stream);
    if (code == cudaSuccess) return 0;
    last_error = cudaGetErrorString(code);
    return -1;
  }
  return report(decode != 0 ? sparse_mla_decode(params, nullptr, 0, stream)
                            : sparse_mla_prefill(params, stream));
}

}  // extern "C"
