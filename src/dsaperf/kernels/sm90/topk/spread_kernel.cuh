#pragma once

#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/topk/in_registers.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"

#include <cstdint>

// Exact top-k of few rows, each spread over the registers of a cluster: CTA `rank` holds the
// kThreads * kValues elements from rank * kThreads * kValues on, each thread kValues neighbours.
//
// The threshold is found in rounds of 11 bits, as select.cuh does within one CTA. A round counts
// into 2048 bins in each CTA, which then adds those that are not zero, some hundred, to the sums of
// all CTAs through distributed shared memory; all find the same bin. Once at most 4096 keys are
// left, usually after one round, every CTA reads them all and finds the threshold among them
// without a message. Then each CTA tells the others how many of its elements exceed the threshold
// and equal it, and writes those that are taken where those of the CTAs before it end: ascending,
// as the positions of a CTA follow those of the one before.
//
// Rows that no cluster can hold are cut into segments: each leaves its topk largest, with
// positions, and a second launch selects from what is left of a row, which stands in the order of
// positions.
//
//   bound by  latency: launch, one load, per round a cluster barrier and a hop
//   smem      52 KB, and 4 bytes an element that a CTA may write
//   limits    columns <= cluster * kThreads * kValues; cluster a power of two up to 16
//
//   cluster barrier           before it                      after it
//   A, each round             own sums cleared               own bins added to those of all
//   B, each round             own bins added                 sums read
//   C, with keys left         own listed                     those of others read
//   D                         counts of what is taken written to all output; nothing remote any
//   more
namespace dsaperf::kernels::sm90 {

inline constexpr int kTopkMostCluster = 16;
inline constexpr std::uint32_t kMostListed = 4096;  // keys that every CTA of a cluster looks at

struct alignas(16) SpreadShared {
  TopkShared select;                    // its histogram: the bins of this CTA
  std::uint32_t sums[kTopkBins];        // of all bins, over the cluster
  std::uint32_t listed[kMostListed];    // keys of this CTA that are left
  std::uint32_t gathered[kMostListed];  // of all
  std::uint32_t listed_count;
  std::uint32_t marked[kTopkMostCluster];  // Cut::counts of the CTAs
};

struct ClusterPlace {
  std::uint32_t rank;
  std::uint32_t size;
};

__device__ inline std::uint32_t remote(const void* here, std::uint32_t rank) {
  return ptx::cluster_address(ptx::shared_address(here), rank);
}

// Adds what this CTA has counted to the sums of all CTAs; its bins are zero again.
template <int kThreads>
__device__ void add_to_sums(const ClusterPlace& place, SpreadShared& shared) {
#pragma unroll
  for (int i = 0; i < kTopkBins / kThreads; ++i) {
    const std::uint32_t bin = i * kThreads + threadIdx.x;
    const std::uint32_t count = shared.select.histogram[bin];
    if (count == 0) continue;
    shared.select.histogram[bin] = 0;
    for (std::uint32_t to = 0; to < place.size; ++to)  // not all to the same CTA at once
      ptx::add_cluster_u32(remote(&shared.sums[bin], (place.rank + to) & (place.size - 1)), count);
  }
}

// As narrow_once, over the elements of all CTAs of the cluster. Each thread has arrived at barrier
// A of this round.
template <int kThreads, class ForEach>
__device__ Range narrow_once_in_cluster(const Range& range, const ClusterPlace& place,
                                        SpreadShared& shared, ForEach for_each) {
  const int shift = bin_shift(range.last);
  for_each([&](std::uint32_t value) {
    const std::uint32_t offset = value - range.lo;
    if (offset <= range.last) atomicAdd(&shared.select.histogram[offset >> shift], 1u);
  });
  __syncthreads();
  ptx::cluster_wait();  // A
  add_to_sums<kThreads>(place, shared);
  ptx::cluster_sync();  // B
  return range_of_bin(range, shift,
                      find_bin<kThreads, false>(shared.sums, range.need, shared.select));
}

// Copies the keys that the CTAs have listed to shared.gathered of this one.
template <int kThreads>
__device__ void gather_listed(const ClusterPlace& place, SpreadShared& shared) {
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint32_t count = 0;
  if (lane < place.size) count = ptx::load_cluster_u32(remote(&shared.listed_count, lane));
  const std::uint32_t through = warp_sum_through(count);
  constexpr std::uint32_t kWarps = kThreads / 32;
  constexpr int kAhead = 4;  // loads that do not wait for the number of keys
  for (std::uint32_t rank = threadIdx.x / 32; rank < place.size; rank += kWarps) {
    const std::uint32_t keys = remote(shared.listed, rank) + 4 * lane;
    std::uint32_t ahead[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) ahead[j] = ptx::load_cluster_u32(keys + 128 * j);
    const std::uint32_t part = __shfl_sync(~0u, count, static_cast<int>(rank));
    const std::uint32_t before = __shfl_sync(~0u, through, static_cast<int>(rank)) - part;
    std::uint32_t* to = shared.gathered + before + lane;
#pragma unroll
    for (int j = 0; j < kAhead; ++j)
      if (lane + 32 * j < part) to[32 * j] = ahead[j];
#pragma unroll 4
    for (std::uint32_t i = 32 * kAhead; lane + i < part; i += 32)
      to[i] = ptx::load_cluster_u32(keys + 4 * i);
  }
}

// The keys that this thread looks at of those left in the cluster.
template <int kThreads>
struct GatheredKeys {
  const std::uint32_t* keys;
  std::uint32_t count;

  template <class Visit>
  __device__ void operator()(Visit visit) const {
    for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) visit(keys[i]);
  }
  __device__ void list(const Range& range, std::uint32_t* listed, std::uint32_t* count) const {
    (*this)([&](std::uint32_t key) {
      if (range.holds(key)) listed[atomicAdd(count, 1u)] = key;
    });
  }
};

// The threshold of the whole cluster's row; all CTAs find the same.
template <int kThreads, class Keys>
__device__ Range find_threshold_in_cluster(Range left, const ClusterPlace& place,
                                           SpreadShared& shared, const Keys& own_keys) {
  left = narrow_once_in_cluster<kThreads>(left, place, shared, own_keys);
  while (!left.decided() && left.active > kMostListed) {
    clear_bins<kThreads>(shared.sums);
    ptx::cluster_arrive();  // A
    left = narrow_once_in_cluster<kThreads>(left, place, shared, own_keys);
  }
  if (left.decided()) return left;
  own_keys.list(left, shared.listed, &shared.listed_count);
  ptx::cluster_sync();  // C
  gather_listed<kThreads>(place, shared);
  __syncthreads();
  const GatheredKeys<kThreads> gathered_keys{shared.gathered, left.active};
  left = narrow<kThreads>(left, kTopkFinalists, shared.select, gathered_keys);
  return left.decided() ? left : rank_finalists<kThreads>(left, shared.select, gathered_keys);
}

// The elements that a cluster selects from, and where the positions of those selected go.
struct SpreadRow {
  const float* scores;
  std::int32_t length;
  std::int32_t* out;
  float* out_scores;              // of a segment
  const std::int32_t* positions;  // of what segments left
  std::int32_t first;             // position of the segment in its row
};

template <SpreadRows kRows>
__device__ SpreadRow spread_row(const TopkArguments& a, int index) {
  const int row = kRows == SpreadRows::kSegments ? index / a.segments : index;
  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int length = max(end_of_row(a, row) - begin, 0);
  const float* scores = a.scores + row * a.scores_stride + begin;
  const auto left_by_segments = static_cast<std::int64_t>(row) * a.segments * a.topk;
  if constexpr (kRows == SpreadRows::kSegments) {
    const int segment = index - row * a.segments;
    const int first = segment * a.segment_columns;
    const std::int64_t left = left_by_segments + segment * a.topk;
    return {scores + first,
            max(min(length - first, a.segment_columns), 0),
            a.segment_indices + left,
            a.segment_scores + left,
            nullptr,
            first};
  }
  std::int32_t* out = a.indices + row * a.indices_stride;
  if constexpr (kRows == SpreadRows::kSelected) {
    // All segments but the last that has any have topk at least: what they left has no gaps.
    const int whole = length / a.segment_columns;
    const int left = whole * a.topk + min(length - whole * a.segment_columns, a.topk);
    return {a.segment_scores + left_by_segments,  left, out, nullptr,
            a.segment_indices + left_by_segments, 0};
  }
  return {scores, length, out, nullptr, nullptr, 0};
}

// Writes count elements of a row: element_of(i) names the i-th.
template <SpreadRows kRows, int kThreads, class ElementOf>
__device__ void write_selected(const SpreadRow& row, std::uint32_t before, std::uint32_t count,
                               ElementOf element_of) {
  for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) {
    const std::int32_t element = element_of(i);
    if constexpr (kRows == SpreadRows::kSelected) {
      row.out[before + i] = row.positions[element];
    } else {
      row.out[before + i] = row.first + element;
    }
    if constexpr (kRows == SpreadRows::kSegments) row.out_scores[before + i] = row.scores[element];
  }
}

template <int kThreads, int kValues, SpreadRows kRows = SpreadRows::kWhole>
__global__ void __launch_bounds__(kThreads, 1)
    spread_topk_kernel(const __grid_constant__ TopkArguments a) {
  static_assert(kTopkMostCluster <= 32);
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<SpreadShared*>(dynamic_shared);
  auto* staged = reinterpret_cast<std::int32_t*>(dynamic_shared + sizeof(SpreadShared));
  const ClusterPlace place{ptx::cluster_rank(), ptx::cluster_size()};
  const int thread = static_cast<int>(threadIdx.x);
  clear_bins<kThreads>(shared.select.histogram);
  clear_bins<kThreads>(shared.sums);
  if (thread == 0) {
    shared.select.finalist_count = 0;
    shared.listed_count = 0;
  }
  ptx::launch_next_grid();
  __syncthreads();        // beside the end of the grid before, if there is one
  ptx::cluster_arrive();  // A
  ptx::wait_for_previous_grid();

  const SpreadRow row = spread_row<kRows>(a, static_cast<int>(blockIdx.x / place.size));
  if (row.length <= a.topk) {  // the whole cluster agrees: nobody waits for another
    if (place.rank == 0) {
      write_selected<kRows, kThreads>(row, 0, row.length, [](std::uint32_t i) { return i; });
      if constexpr (kRows != SpreadRows::kSegments) {
        for (int i = row.length + thread; i < a.topk; i += kThreads) row.out[i] = -1;
      }
    }
    ptx::cluster_wait();  // A
    return;
  }

  const int first = (static_cast<int>(place.rank) * kThreads + thread) * kValues;
  std::uint32_t keys[kValues];
  load_keys(row.scores, first, row.length, keys);

  const Range left = find_threshold_in_cluster<kThreads>(
      {0, ~0u, place.size * kThreads * kValues, static_cast<std::uint32_t>(a.topk)}, place, shared,
      OwnKeys<kValues>{keys});
  const Cut cut(left);
  const BlockSum sum = block_sum<kThreads>(cut.counts(keys), shared.select.warp_sum);
  if (threadIdx.x < place.size)
    ptx::store_cluster_u32(remote(&shared.marked[place.rank], threadIdx.x), sum.total);
  ptx::cluster_sync();  // D
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t before = lane < place.rank ? shared.marked[lane] : 0;
  const std::uint32_t tied_before = __reduce_add_sync(~0u, before >> 16);
  const std::uint32_t out_before =
      __reduce_add_sync(~0u, before & 0xffff) + min(tied_before, cut.tied);
  // Of the tied elements, those before this CTA's, before this thread's, and with this CTA's, as
  // far as they are taken.
  const auto taken = [&](std::uint32_t tied) { return min(tied_before + tied, cut.tied); };
  const std::uint32_t before_thread = taken(sum.before >> 16);
  cut.write_positions(keys, first, cut.tied - before_thread,
                      staged + (sum.before & 0xffff) + before_thread - taken(0));
  __syncthreads();
  const std::uint32_t count = (sum.total & 0xffff) + taken(sum.total >> 16) - taken(0);
  write_selected<kRows, kThreads>(row, out_before, count,
                                  [&](std::uint32_t i) { return staged[i]; });
}

}  // namespace dsaperf::kernels::sm90
