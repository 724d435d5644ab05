#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {
struct TopkParams;

namespace sm90 {

inline constexpr int kTopkMost = 4096;

// How one call of top-k is cut. Any plan that fits shared memory gives the same result; only time
// differs. The ranges are what bench/topk tries; plan_topk holds what it chose.
struct TopkPlan {
  int threads = 0;   // of a CTA: 256 (4 an SM) or 1024 (1 an SM)
  int cluster = 1;   // CTAs of a row: 1, 2, 4, 8 or 16
  int capacity = 0;  // candidates kept in shared memory, > topk; >= columns: whole rows are kept
  int window = 0;    // positions that the bitmap of the result holds at once; a multiple of 32
};

// The plan for these sizes; columns is the length of the longest row.
TopkPlan plan_topk(std::int64_t rows, std::int64_t columns, int topk, int sm_count);

}  // namespace sm90

// topk with a plan of the caller's.
Result<void> topk_planned(const TopkParams& params, const sm90::TopkPlan& plan,
                          CUstream_st* stream);

}  // namespace dsaperf::kernels
