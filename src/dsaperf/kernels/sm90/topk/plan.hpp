#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>

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
  int cluster = 1;       // CTAs of a long row: 1, 2, 4, 8 or 16
  int capacity = 0;      // candidates kept in shared memory, > topk; rows up to it are kept whole
  int window = 0;        // positions that the bitmap of the result holds at once; a multiple of 128
};

// The plan for these sizes; columns is the length of the longest row.
TopkPlan plan_topk(std::int64_t rows, std::int64_t columns, int topk, int sm_count);

}  // namespace sm90

// topk with a plan of the caller's. Fails with kUnsupported where there is no such kernel.
Result<void> topk_planned(const TopkParams& params, const sm90::TopkPlan& plan,
                          CUstream_st* stream);

}  // namespace dsaperf::kernels
