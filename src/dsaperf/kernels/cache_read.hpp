#pragma once

#include "dsaperf/core/error.hpp"

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

Result<void> gather_index_keys_check(const GatherIndexKeysParams& params);
Result<void> selection_rows_check(const SelectionRowsParams& params);

Result<void> gather_index_keys(const GatherIndexKeysParams& params, CUstream_st* stream);
Result<void> selection_rows(const SelectionRowsParams& params, CUstream_st* stream);

// Exact: copies and integers. A page number outside the cache is an error here, the caller's fault
// on the device.
Result<void> gather_index_keys_reference(const GatherIndexKeysParams& params);
Result<void> selection_rows_reference(const SelectionRowsParams& params);

}  // namespace dsaperf::kernels
