#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

struct CUstream_st;

namespace dsaperf::kernels {
struct TopkParams;

namespace sm90 {

inline constexpr int kTopkMost = 4096;

// How one call of top-k is cut. Any plan that fits shared memory gives the same result; only time
// differs. The ranges are what indexer_bench tries; plan_topk holds what it chose.
struct TopkPlan {
  int threads = 0;  // of a CTA: short rows 256, 512 or 1024; others 256 (3-4 an SM), 512 or 1024
  int in_registers = 0;  // elements a thread of rows kept in registers: 4, 8 or 16; 0: any length
  bool spread = false;   // rows in registers of a whole cluster, else of one CTA
  int cluster = 1;       // CTAs of a long row, or of a segment: 1, 2, 4, 8 or 16
  int segments = 1;  // of a row, each spread; what they leave is selected from by a second launch
  int capacity = 0;  // candidates kept in shared memory, > topk; rows up to it are kept whole
  int window = 0;    // positions that the bitmap of the result holds at once; a multiple of 128
  // Of rows in registers: no two CTAs on one SM, so that those of a grid do not share one while the
  // grid before keeps others, and rows end together.
  bool alone = false;
};

// The plan for these sizes; columns is the length of the longest row.
TopkPlan plan_topk(std::int64_t rows, std::int64_t columns, int topk, int sm_count);

// Whether that many CTAs, in clusters of this size, all find an SM of their own at once.
bool fit_alone(std::int64_t ctas, int cluster, int sm_count);

// Rows that no cluster holds, in segments of the fewest CTAs that cut them into at most 16; nothing
// where a cluster holds the row, or more segments are needed.
std::optional<TopkPlan> plan_segments(std::int64_t columns);

}  // namespace sm90

// Device workspace of a plan, 16-byte aligned: none but for segments.
std::size_t topk_plan_workspace(const TopkParams& params, const sm90::TopkPlan& plan);

// topk with a plan of the caller's. Fails with kUnsupported where there is no such kernel.
Result<void> topk_planned(const TopkParams& params, const sm90::TopkPlan& plan, void* workspace,
                          std::size_t workspace_size, CUstream_st* stream);

}  // namespace dsaperf::kernels
