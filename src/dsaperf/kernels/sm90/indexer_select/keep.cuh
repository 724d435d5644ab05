#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Scores that are not written: a CTA keeps of each segment, in shared memory, what may be among the
// topk largest of the request. Each math warp has a list of its own, so none waits for another.
// After every kTilesOfBlock tiles they come together, and where a list is half full they drop what
// is below some value that topk elements reach; of equal ones, where need be, those at the higher
// positions; and share what is left evenly. Whatever has topk better elements beside it is not
// selected from the request either, so nothing that counts is dropped, whatever the scores and the
// order of warps; and a block of tiles always finds room.
//
//   smem      64 KB of elements, 9 KB to select with
//   a block   64 tiles are 4096 scores; of n scores seen before, topk / n of them are kept
namespace dsaperf::kernels::sm90 {

inline constexpr int kKeepingWarps = 16;
inline constexpr int kTilesOfBlock = 64;
// Elements of a warp's list, and as many of them as leave room for a block.
inline constexpr int kListedByWarp = 2 * kMostKept / kKeepingWarps;
inline constexpr int kHalfList = kListedByWarp / 2;

// Of one segment, while it is scored.
struct alignas(16) KeptSegment {
  KeptElement lists[kKeepingWarps][kListedByWarp];
  TopkShared select;
  KeptSummary of_warps[kKeepingWarps];  // where the warps come together
};

// The math threads of a CTA, its first ones, and the named barrier at which they alone come
// together.
struct KeepingThreads {
  static constexpr int kCount = 32 * kKeepingWarps;
  static constexpr int kBarrier = 1;
  static __device__ void sync() { ptx::named_barrier_sync(kBarrier, kCount); }
};

// What a math warp knows of the segment.
class KeepingWarp {
 public:
  __device__ void begin(KeptSegment& segment) {
    segment_ = &segment;
    list_ = segment.lists[threadIdx.x / 32];
    begin_list();
  }

  // Keeps a score of each lane that has one, if it may be selected; the warp calls it together.
  __device__ void keep(bool has, std::uint32_t position, float score) {
    const std::uint32_t key = key_of(score);
    const bool kept = has && key >= pivot_;
    least_ = min(least_, has ? key : ~0u);
    largest_ = max(largest_, has ? key : 0);
    const std::uint32_t lanes = __ballot_sync(~0u, kept);
    const std::uint32_t before = (1u << (threadIdx.x % 32)) - 1;
    if (kept) list_[count_ + static_cast<std::uint32_t>(__popc(lanes & before))] = {key, position};
    count_ += static_cast<std::uint32_t>(__popc(lanes));
  }

  // When all have scored their tiles of a block, makes room for the next one. `length` bounds
  // positions. All keeping threads call it.
  __device__ void end_block(std::uint32_t topk, std::uint32_t length) {
    const Lists lists = come_together();
    if (lists.longest > kHalfList) drop(topk, lists, min(topk + topk / 4, kMostKept), length);
  }

  // When the segment ends, writes out at most `most` elements of it, or topk, and begins another.
  // All keeping threads call it.
  __device__ void end_segment(const KeptLists& out, std::int64_t number, std::uint32_t length) {
    const auto topk = static_cast<std::uint32_t>(out.topk);
    const std::uint32_t most = max(static_cast<std::uint32_t>(out.most), topk);
    Lists lists = come_together();
    if (lists.all.count > most) {
      drop(topk, lists, min(topk + topk / 4, most), length);
      lists = come_together();
    }
    KeptElement* to = out.elements + number * kMostKept + lists.before;
    for (std::uint32_t i = threadIdx.x % 32; i < count_; i += 32) to[i] = list_[i];
    if (threadIdx.x == 0) out.summaries[number] = lists.all;
    begin_list();
  }

 private:
  struct Lists {
    KeptSummary all;
    std::uint32_t before;   // elements of the warps before this one
    std::uint32_t longest;  // of a warp
  };

  __device__ void begin_list() {
    count_ = 0;
    pivot_ = 0;
    least_ = ~0u;
    largest_ = 0;
  }

  // Barriers before and after the summaries are read, so that all see the same.
  __device__ Lists come_together() const {
    const std::uint32_t lane = threadIdx.x % 32;
    const std::uint32_t warp = threadIdx.x / 32;
    const KeptSummary own{count_, __reduce_min_sync(~0u, least_), __reduce_max_sync(~0u, largest_)};
    if (lane == 0) segment_->of_warps[warp] = own;
    KeepingThreads::sync();
    const KeptSummary other =
        lane < kKeepingWarps ? segment_->of_warps[lane] : KeptSummary{0, ~0u, 0};
    KeepingThreads::sync();
    return {{__reduce_add_sync(~0u, other.count), max(__reduce_min_sync(~0u, other.least), pivot_),
             __reduce_max_sync(~0u, other.largest)},
            __reduce_add_sync(~0u, lane < warp ? other.count : 0),
            __reduce_max_sync(~0u, other.count)};
  }

  // Drops elements until at most `room` are left, topk at least, and shares them.
  __device__ void drop(std::uint32_t topk, const Lists& lists, std::uint32_t room,
                       std::uint32_t length) {
    constexpr int kThreads = KeepingThreads::kCount;
    constexpr int kOfThread = kListedByWarp / 32;
    const std::uint32_t lane = threadIdx.x % 32;
    TopkShared& select = segment_->select;
    const auto for_each_own = [&](auto visit) {
#pragma unroll 4
      for (std::uint32_t i = lane; i < count_; i += 32) visit(list_[i].key, list_[i].position);
    };
    Threshold threshold{0, 0};  // takes all
    if (lists.all.count > room) {
      const auto kept_with = [&](const Range& range) { return topk - range.need + range.active; };
      Range range{lists.all.least, lists.all.largest - lists.all.least, lists.all.count, topk};
      while (!range.decided() && kept_with(range) > room)
        range = narrow_once<kThreads, KeepingThreads>(range, select, [&](auto count) {
          for_each_own([&](std::uint32_t key, std::uint32_t) { count(key); });
        });
      threshold = {range.lo, 0};
      if (kept_with(range) > room)
        threshold = find_threshold<kThreads, KeepingThreads>(range, length, select, for_each_own);
    }
    // What is left is written to the first halves of the lists, so that these are read before.
    KeptElement own[kOfThread / 2];
    std::uint32_t taken = 0;  // a bit each
#pragma unroll
    for (int i = 0; i < kOfThread; ++i) {
      const std::uint32_t listed = 32 * i + lane;
      if (listed >= count_) continue;
      const KeptElement element = list_[listed];
      if (i < kOfThread / 2) own[i] = element;
      if (threshold.takes(element.key, element.position)) taken |= 1u << i;
    }
    const BlockSum sum = block_sum<kThreads, KeepingThreads>(
        static_cast<std::uint32_t>(__popc(taken)), select.warp_sum);
    std::uint32_t at = sum.before;
#pragma unroll
    for (int i = 0; i < kOfThread; ++i) {
      if ((taken >> i & 1) == 0) continue;
      const KeptElement element = i < kOfThread / 2 ? own[i] : list_[32 * i + lane];
      segment_->lists[at / kHalfList][at % kHalfList] = element;
      ++at;
    }
    if (threadIdx.x == 0) select.finalist_count = 0;
    pivot_ = max(pivot_, threshold.key);  // where lists are only shared anew, it stays
    const std::uint32_t first = threadIdx.x / 32 * kHalfList;
    count_ = min(max(sum.total, first) - first, static_cast<std::uint32_t>(kHalfList));
    KeepingThreads::sync();
  }

  KeptSegment* segment_;
  KeptElement* list_;
  std::uint32_t count_;
  std::uint32_t pivot_;    // a key; lower ones are dropped at once
  std::uint32_t least_;    // of the lane's keys, dropped ones too
  std::uint32_t largest_;  // the same
};

// The segment's memory before the first score; a barrier of the CTA comes after.
__device__ inline void begin_keeping(KeptSegment& segment, int thread, int threads) {
  for (int i = thread; i < kTopkBins; i += threads) segment.select.histogram[i] = 0;
  if (thread == 0) segment.select.finalist_count = 0;
}

}  // namespace dsaperf::kernels::sm90
