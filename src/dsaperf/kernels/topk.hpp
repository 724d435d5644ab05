#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Exact top-k of f32 rows. Row r sees columns [start[r], end[r]); it receives exactly
// min(topk, end - start) distinct positions, equal as a set to a full sort up to ties at the
// threshold, then -1. NaN sorts below every number, -inf included. Positions are relative to
// start[r] (positions in the request). On the GPU the lowest of tied positions are taken and each
// row is written in ascending order, so two runs give the same bits.
struct TopkParams {
  const float* scores = nullptr;        // [rows, columns]
  const std::int32_t* start = nullptr;  // [rows]; null = 0
  const std::int32_t* end = nullptr;    // [rows / rows_per_end]; null = columns
  std::int32_t* indices = nullptr;      // [rows, topk]
  std::int64_t rows = 0;
  std::int64_t columns = 0;         // up to 1,048,576 and beyond
  int topk = 0;                     // 64 ... 4096
  std::int64_t scores_stride = 0;   // elements
  std::int64_t indices_stride = 0;  // elements
  // Decode with several new tokens a request: that many rows share an end, which is the last one's;
  // each row before it sees one column less. Divides rows.
  int rows_per_end = 1;
};

// Refuses sizes, strides and null pointers that contradict each other. Ranges are clamped to
// [0, columns), their values not checked.
Result<void> topk_check(const TopkParams& params);

// Some variants of the tuning table want a workspace; where less is given, the default runs, which
// needs none.
Result<std::size_t> topk_workspace(const TopkParams& params, int sm_count);
Result<void> topk(const TopkParams& params, void* workspace, std::size_t workspace_size,
                  CUstream_st* stream);

// On host pointers, by sorting; among equal scores the lowest position wins.
Result<void> topk_reference(const TopkParams& params);

}  // namespace dsaperf::kernels
