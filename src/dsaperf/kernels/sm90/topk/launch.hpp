#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace dsaperf::kernels::sm90 {

struct TopkArguments {
  const float* scores;
  const std::int32_t* start;  // null: 0
  const std::int32_t* end;    // null: columns
  std::int32_t* indices;
  std::int64_t scores_stride;
  std::int64_t indices_stride;
  std::int32_t rows;
  std::int32_t columns;
  std::int32_t topk;
  std::int32_t capacity;
  std::int32_t window;  // positions that the bitmap holds; a multiple of 128
  std::int32_t rows_per_end;
  // Rows in segments (SpreadRows): the topk of each, from which those of the row are selected.
  std::int32_t segments = 1;                // of a row
  std::int32_t segment_columns = 0;         // a multiple of 4, at least topk
  float* segment_scores = nullptr;          // [rows, segments * topk]
  std::int32_t* segment_indices = nullptr;  // alike: positions in the row
};

// What a cluster of the spread kernel selects from.
enum class SpreadRows {
  kWhole,     // a row
  kSegments,  // a segment of a row; scores and positions are left for kSelected
  kSelected   // what the segments of a row left
};

// Rows of any length. kThreads: 256, 512 or 1024.
template <int kThreads>
cudaError_t launch_topk(const TopkArguments& arguments, int cluster, cudaStream_t stream);

// Rows of at most kThreads * kValues columns. alone: see TopkPlan.
template <int kThreads, int kValues>
cudaError_t launch_short_topk(const TopkArguments& arguments, bool alone, cudaStream_t stream);

// Rows (segments, what is left of rows) of at most cluster * kThreads * kValues columns, each
// spread over a cluster: 1, 2, 4, 8, 16.
template <int kThreads, int kValues, SpreadRows kRows = SpreadRows::kWhole>
cudaError_t launch_spread_topk(const TopkArguments& arguments, int cluster, bool alone,
                               cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
