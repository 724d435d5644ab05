#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Sparse attention over a latent KV cache: each query token attends to the rows its index list
// names. One cache row serves all heads, as key (latent + rope) and as value (latent). All pointers
// are device pointers for the GPU entry points and host pointers for the reference; sizes in
// elements, strides in elements of the pointed-to type unless the name says bytes.
//
// lse is the natural logarithm, -inf where nothing is selected; the output is then 0. Index -1
// anywhere in a list is skipped; duplicates count as often as they stand.

// Rows of the KV cache as the kernels read them: format and addressing.
struct KvRows {
  enum class Format {
    kBf16,  // 512 latent, 64 rope, bf16: 1152 B
    kFp8,   // 512 e4m3, 4 f32 scales (one per 128), 64 bf16 rope: 656 B
  };
  const void* data = nullptr;
  Format format = Format::kBf16;
  std::int64_t rows = 0;              // addressable rows; an index outside [0, rows) counts as -1
  std::int64_t row_stride_bytes = 0;  // 1152 or 656 when packed
};

struct SparseMlaParams {
  const void* q = nullptr;  // [tokens, heads, 576] bf16: q_latent 512, q_rope 64
  KvRows kv;
  const std::int32_t* indices = nullptr;      // [tokens, topk]: row numbers in kv, or -1
  const std::int32_t* topk_length = nullptr;  // [tokens]: leading entries that count; null = all
  void* out = nullptr;                        // [tokens, heads, 512] bf16
  float* lse = nullptr;                       // [tokens, heads]; null = not wanted
  std::int64_t tokens = 0;
  int heads = 0;                      // 8, 16, 32, 64 or 128; nothing is padded by the caller
  int topk = 0;                       // width of a list
  std::int64_t q_token_stride = 0;    // elements; heads * 576 when packed
  std::int64_t q_head_stride = 0;     // elements; 576 when packed
  std::int64_t indices_stride = 0;    // elements; topk when packed
  std::int64_t out_token_stride = 0;  // elements; heads * 512 when packed
  std::int64_t out_head_stride = 0;   // elements; 512 when packed
  std::int64_t lse_stride = 0;        // elements; heads when packed
  float scale = 0;                    // softmax scale, natural units
};

// Refuses sizes, strides and null pointers that contradict each other or the limits above. Empty
// batches (tokens == 0) pass with any pointer. Used by the reference and by the GPU entry points;
// the latter may refuse more (alignment).
Result<void> sparse_mla_check(const SparseMlaParams& params);

// Device workspace in bytes that sparse_mla_decode needs for these sizes (f32 partial outputs and
// lse of split lists). Depends on sizes only, so one buffer serves a captured graph.
Result<std::size_t> sparse_mla_decode_workspace(const SparseMlaParams& params, int sm_count);

// Many tokens: one or several CTAs a token, lists never split.
Result<void> sparse_mla_prefill(const SparseMlaParams& params, CUstream_st* stream);

// Few tokens: lists are split over the SMs and merged by log-sum-exp. Same result as prefill up to
// the order of f32 additions. `tokens` is batch * q_len, each row with its own list.
Result<void> sparse_mla_decode(const SparseMlaParams& params, void* workspace,
                               std::size_t workspace_size, CUstream_st* stream);

// Double precision on host pointers, loops, no cleverness; out is rounded once. A NaN in a score
// makes its (token, head) NaN; selected rows whose scores are all -inf count as nothing selected.
Result<void> sparse_mla_reference(const SparseMlaParams& params);

}  // namespace dsaperf::kernels
