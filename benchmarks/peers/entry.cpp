// C functions over the kernels' entry points: device pointers, sizes, a stream; 0 or -1, and the
// reason of the last failure on this thread. For benchmarks/peers/peers.py (ctypes).
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/variants.hpp"
#include "variant.hpp"

#include <string>
#include <vector>

namespace {

thread_local std::string last_error;
thread_local std::string last_variants;

int report(const dsaperf::Result<void>& result) {
  if (result) return 0;
  last_error = result.error().message();
  return -1;
}

}  // namespace

namespace dsaperf::peers {

std::optional<kernels::Variant>& forced_variant() {
  thread_local std::optional<kernels::Variant> variant;
  return variant;
}

std::span<std::byte>& workspace() {
  thread_local std::span<std::byte> memory;
  return memory;
}

}  // namespace dsaperf::peers

extern "C" {

const char* dsaperf_peers_error() {
  return last_error.c_str();
}

// The variant that all functions here run from now on; an empty name: what the library chooses.
int dsaperf_peers_variant(const char* name) {
  auto& forced = dsaperf::peers::forced_variant();
  forced = dsaperf::kernels::variant_from_name(name);
  if (forced || *name == '\0') return 0;
  last_error = "no variant " + std::string(name);
  return -1;
}

// Names of the variants that can run a shape, separated by spaces; null for an unknown kernel.
const char* dsaperf_peers_variants(const char* kernel, int fp8, int heads, int q_len,
                                   long long rows, long long columns, int sm_count) {
  const auto known = dsaperf::kernels::tuned_kernel_from_name(kernel);
  if (!known) return nullptr;
  last_variants.clear();
  for (const auto variant : dsaperf::kernels::variants_of({.kernel = *known,
                                                           .fp8 = fp8 != 0,
                                                           .heads = heads,
                                                           .q_len = q_len,
                                                           .rows = rows,
                                                           .columns = columns},
                                                          sm_count))
    last_variants += (last_variants.empty() ? "" : " ") + std::string(name(variant));
  return last_variants.c_str();
}

// Device memory for lists that are split and rows in segments; the caller keeps it.
void dsaperf_peers_workspace(void* memory, long long size) {
  dsaperf::peers::workspace() = {static_cast<std::byte*>(memory), static_cast<std::size_t>(size)};
}

// Packed tensors. fp8 != 0: rows of 656 bytes, else 1152. decode != 0: sparse_mla_decode.
int dsaperf_peers_sparse_mla(const void* q, const void* kv, int fp8, long long rows,
                             const int* indices, const int* topk_length, void* out, float* lse,
                             long long tokens, int heads, int topk, float scale, int decode,
                             CUstream_st* stream) {
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
  const auto workspace = dsaperf::peers::workspace();
  if (const auto variant = dsaperf::peers::forced_variant())
    return report(sparse_mla_variant(params, *variant, workspace.data(), workspace.size(), stream));
  return report(decode != 0 ? sparse_mla_decode(params, workspace.data(), workspace.size(), stream)
                            : sparse_mla_prefill(params, stream));
}

}  // extern "C"
