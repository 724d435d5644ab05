#pragma once

#include "dsaperf/kernels/sm90/indexer_select/candidates.hpp"
#include "dsaperf/kernels/sm90/indexer_select/score_bins.cuh"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Scores that are not written whole: a CTA keeps of each segment what may be among the topk
// largest. It counts what it keeps in 2048 bins; once topk elements stand in the highest bins, what
// is below the lowest of these (the pivot) is dropped. The pivot only rises, to the edge of a bin,
// so all that reaches its last value is kept and counted, and the threshold of the request is not
// below the last pivot of any of its segments: the sum of the segments' bins has the threshold's
// bin right, however the warps took turns. Nothing is ever dropped for lack of room.
namespace dsaperf::kernels::sm90 {

// Of one segment, while it is scored.
struct alignas(16) KeptSegment {
  std::uint32_t histogram[kScoreBins];
  std::uint32_t count;
  std::uint32_t pivot;   // a key; lower ones are dropped
  std::uint64_t scored;  // barrier: all math threads are done with it
};

// Keeps one element a lane; the warp calls it together.
__device__ inline void keep(KeptSegment& segment, KeptElement* elements, bool visible,
                            std::uint32_t position, float score) {
  const std::uint32_t key = key_of(score);
  const bool kept = visible && key >= segment.pivot;
  const std::uint32_t lanes = __ballot_sync(~0u, kept);
  if (lanes == 0) return;
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint32_t at = 0;
  if (lane == 0) at = atomicAdd(&segment.count, static_cast<std::uint32_t>(__popc(lanes)));
  at = __shfl_sync(~0u, at, 0);
  if (!kept) return;
  atomicAdd(&segment.histogram[score_bin(key)], 1u);
  elements[at + static_cast<std::uint32_t>(__popc(lanes & ((1u << lane) - 1)))] = {key, position};
}

// Raises the pivot to the highest bin at and above which topk elements have been counted. One warp
// calls it, while others count: a bin that is read too early makes the pivot lower, never wrong.
__device__ inline void raise_pivot(KeptSegment& segment, std::uint32_t topk) {
  const std::uint32_t lane = threadIdx.x % 32;
  const auto* fours = reinterpret_cast<const uint4*>(segment.histogram);
  std::uint32_t above = 0;
  for (int step = kScoreBins / 128 - 1; step >= 0; --step) {
    const uint4 four = fours[step * 32 + lane];
    const std::uint32_t own = four.x + four.y + four.z + four.w;
    const std::uint32_t total = __reduce_add_sync(~0u, own);
    if (above + total < topk) {
      above += total;
      continue;
    }
    const std::uint32_t through = warp_sum_through(own);
    const std::uint32_t reached = __ballot_sync(~0u, above + total - through + own >= topk);
    if (lane == 31 - static_cast<std::uint32_t>(__clz(static_cast<int>(reached)))) {
      const std::uint32_t counts[4] = {four.x, four.y, four.z, four.w};
      std::uint32_t sum = above + total - through;
      int bin = 0;
#pragma unroll
      for (int i = 3; i >= 0; --i) {
        if (sum < topk) bin = step * 128 + 4 * static_cast<int>(lane) + i;
        sum += counts[i];
      }
      segment.pivot = max(segment.pivot, first_key_of_score_bin(bin));
    }
    return;
  }
}

__device__ inline void clear_segment(KeptSegment& segment, int thread, int threads) {
  for (int i = thread; i < kScoreBins / 4; i += threads)
    reinterpret_cast<uint4*>(segment.histogram)[i] = uint4{};
  if (thread == 0) {
    segment.count = 0;
    segment.pivot = 0;
  }
}

// Writes out what a segment has counted, and clears it for another. One warp calls it.
__device__ inline void put_away(KeptSegment& segment, const KeptLists& lists, std::int64_t number) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  auto* to = reinterpret_cast<uint4*>(lists.histograms + number * kScoreBins);
  const auto* from = reinterpret_cast<const uint4*>(segment.histogram);
#pragma unroll 4
  for (int i = lane; i < kScoreBins / 4; i += 32) to[i] = from[i];
  if (lane == 0) lists.counts[number] = segment.count;
  __syncwarp();
  clear_segment(segment, lane, 32);
  __syncwarp();
}

}  // namespace dsaperf::kernels::sm90
