#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"

#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// What stands between the paged caches and kernels that want something else.

// Index keys of one request, out of its pages into rows: what contiguous scores read in prefill.
struct GatherIndexKeysParams {
  const std::uint8_t* pages = nullptr;        // [page_count], page_stride_bytes apart
  const std::int32_t* block_table = nullptr;  // [ceil(tokens / 64)]: page numbers
  std::uint8_t* values = nullptr;             // [tokens, 128] e4m3
  float* scales = nullptr;                    // [tokens]
  std::int64_t tokens = 0;
  std::int64_t page_count = 0;
  std::int64_t page_stride_bytes = 0;
};

// Positions in a request to rows of the cache (page * 64 + offset); -1 and positions beyond the
// table stay -1.
struct SelectionRowsParams {
  const std::int32_t* positions = nullptr;    // [tokens, topk]
  const std::int32_t* request = nullptr;      // [tokens]: row of block_table
  const std::int32_t* block_table = nullptr;  // [requests, block_table_stride]
  std::int32_t* rows = nullptr;               // [tokens, topk]; may be positions itself
  std::int64_t tokens = 0;
  int topk = 0;
  std::int64_t positions_stride = 0;  // elements
  std::int64_t rows_stride = 0;       // elements
  std::int64_t block_table_stride = 0;
  std::int64_t requests = 0;  // 0: not known; else the reference refuses a request beyond it
};

// Pages of an fp8 cache as bf16 rows, for attention that reads each row many times: the values that
// it would make of them itself, product with the scale in f32 and then rounded once.
struct RowsToBf16Params {
  KvRows cache;                         // fp8
  const std::int32_t* pages = nullptr;  // [page_count]: numbers; outside the cache: page is skipped
  void* out = nullptr;                  // [page_count * 64, 576] bf16, packed: page by page
  std::int64_t page_count = 0;
};

Result<void> gather_index_keys_check(const GatherIndexKeysParams& params);
Result<void> selection_rows_check(const SelectionRowsParams& params);
Result<void> rows_to_bf16_check(const RowsToBf16Params& params);

Result<void> gather_index_keys(const GatherIndexKeysParams& params, CUstream_st* stream);
Result<void> selection_rows(const SelectionRowsParams& params, CUstream_st* stream);
// Rows and `out` start at multiples of 16 bytes, as sparse attention needs them.
Result<void> rows_to_bf16(const RowsToBf16Params& params, CUstream_st* stream);

// Exact: copies and integers. A page number outside the cache is an error of gather_index_keys
// here, the caller's fault on the device.
Result<void> gather_index_keys_reference(const GatherIndexKeysParams& params);
Result<void> selection_rows_reference(const SelectionRowsParams& params);
Result<void> rows_to_bf16_reference(const RowsToBf16Params& params);

}  // namespace dsaperf::kernels
