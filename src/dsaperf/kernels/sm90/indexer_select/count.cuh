#pragma once

#include "dsaperf/kernels/sm90/indexer_select/score_bins.cuh"
#include "dsaperf/kernels/sm90/indexer_select/score_counts.hpp"
#include "dsaperf/kernels/sm90/ptx/control.cuh"

#include <cstdint>

// Counts of scores while they are computed. The sum of the counts of a request's segments names the
// bin that holds its threshold, exactly, so the selection needs no sample and no first round.
namespace dsaperf::kernels::sm90 {

// Of the segment that a CTA scores.
struct alignas(16) ScoreHistogram {
  std::uint32_t bins[kScoreBins];

  __device__ void count(float score) { atomicAdd(&bins[score_bin(key_of(score))], 1u); }

  __device__ void clear(int thread, int threads) {
    for (int i = thread; i < kScoreBins / 4; i += threads)
      reinterpret_cast<uint4*>(bins)[i] = uint4{};
  }
};

// Says that this CTA has scored none of the grid's requests, and lets the grid begin that waits for
// them (wait_for_scores). One thread calls it, before any thread of the CTA stores a score.
__device__ inline void begin_progress(const ScoreCounts& counts) {
  ptx::store_release(&counts.progress[blockIdx.x], 0);
  ptx::launch_next_grid();
}

// Writes out what the CTA has counted of a request, clears it for the next one, and says that the
// segment is there, scores and counts. kThreads threads call it, the first of the CTA, each after
// its last score of the segment; `barrier`: a named barrier of theirs.
template <int kThreads>
__device__ void end_segment(const ScoreCounts& counts, ScoreHistogram& histogram, int request,
                            int barrier) {
  const auto thread = static_cast<int>(threadIdx.x);
  ptx::named_barrier_sync(barrier, kThreads);  // all are counted
  auto* own = reinterpret_cast<uint4*>(histogram.bins);
  auto* out = reinterpret_cast<uint4*>(counts.histograms +
                                       (std::int64_t{request} + blockIdx.x) * kScoreBins);
  for (int i = thread; i < kScoreBins / 4; i += kThreads) {
    out[i] = own[i];
    own[i] = uint4{};
  }
  ptx::named_barrier_sync(barrier, kThreads);  // what the others have stored is told with it
  if (thread == 0)
    ptx::store_release(&counts.progress[blockIdx.x], static_cast<std::uint32_t>(request) + 1);
}

// Until the CTA has scored its part of the request.
__device__ inline void wait_for_scores(const ScoreCounts& counts, int cta, int request) {
  while (ptx::load_acquire(&counts.progress[cta]) <= static_cast<std::uint32_t>(request))
    __nanosleep(40);
}

}  // namespace dsaperf::kernels::sm90
