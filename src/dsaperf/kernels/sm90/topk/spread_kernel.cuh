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
// into 2048 bins in each CTA; each CTA then sums its share of the bins over the cluster through
// distributed shared memory and writes the sums into all CTAs; all find the same bin. Once at most
// 4096 keys are left, usually after one round, every CTA reads them all and finds the threshold
// among them without a message. Then each CTA tells the others how many of its elements exceed the
// threshold and equal it, and writes those that are taken where those of the CTAs before it end:
// ascending, as the positions of a CTA follow those of the one before.
//
//   bound by  latency: launch, one load, per round two cluster barriers and two hops
//   smem      60 KB, and 4 bytes an element that a CTA may write
//   limits    columns <= cluster * kThreads * kValues; cluster a power of two up to 16
//
//   cluster barrier           before it                      after it
//   A, each round             own bins counted               bins of others read
//   B, each round             sums written to all            sums read; own bins cleared
//   C, with keys left         own listed                     those of others read
//   D                         counts of marks written to all output; nothing remote any more
namespace dsaperf::kernels::sm90 {

inline constexpr int kTopkMostCluster = 16;
inline constexpr std::uint32_t kMostListed = 4096;  // keys that every CTA of a cluster looks at

struct alignas(16) SpreadShared {
  TopkShared select;                    // its histogram: the bins of this CTA
  std::uint32_t own_sums[kTopkBins];    // over the cluster, of this CTA's share of the bins
  std::uint32_t sums[kTopkBins];        // of all bins
  std::uint32_t listed[kMostListed];    // keys of this CTA that are left
  std::uint32_t gathered[kMostListed];  // of all
  std::uint32_t listed_count;
  std::uint32_t marked[kTopkMostCluster];  // Marks::counts of the CTAs
};

struct ClusterPlace {
  std::uint32_t rank;
  std::uint32_t size;
};

__device__ inline std::uint32_t remote(const void* here, std::uint32_t rank) {
  return ptx::cluster_address(ptx::shared_address(here), rank);
}

template <int kThreads>
__device__ void clear_bins(SpreadShared& shared) {
  for (int i = static_cast<int>(threadIdx.x); i < kTopkBins / 4; i += kThreads) {
    reinterpret_cast<uint4*>(shared.select.histogram)[i] = uint4{};
    reinterpret_cast<uint4*>(shared.own_sums)[i] = uint4{};
  }
}

// As narrow_once, over the elements of all CTAs of the cluster.
template <int kThreads, class ForEach>
__device__ Range narrow_once_in_cluster(const Range& range, const ClusterPlace& place,
                                        SpreadShared& shared, ForEach for_each) {
  const int shift = bin_shift(range.last);
  for_each([&](std::uint32_t value) {
    const std::uint32_t offset = value - range.lo;
    if (offset <= range.last) atomicAdd(&shared.select.histogram[offset >> shift], 1u);
  });
  ptx::cluster_sync();  // A
  // Pairs of one of this CTA's bins and a CTA: as many as there are bins, a few for each thread.
  constexpr int kPairs = kTopkBins / kThreads;
  const std::uint32_t share = kTopkBins / place.size;  // a power of two
  std::uint32_t bins[kPairs];
  std::uint32_t counts[kPairs];
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const std::uint32_t pair = i * kThreads + threadIdx.x;
    bins[i] = pair & (share - 1);
    counts[i] = ptx::load_cluster_u32(
        remote(&shared.select.histogram[place.rank * share + bins[i]], pair / share));
  }
#pragma unroll
  for (int i = 0; i < kPairs; ++i)
    if (counts[i] != 0) atomicAdd(&shared.own_sums[bins[i]], counts[i]);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kPairs; ++i)
    ptx::store_cluster_u32(
        remote(&shared.sums[place.rank * share + bins[i]], (i * kThreads + threadIdx.x) / share),
        shared.own_sums[bins[i]]);
  ptx::cluster_sync();  // B
  clear_bins<kThreads>(shared);
  find_bin<kThreads, false>(shared.sums, range.need, shared.select);
  return range_of_found_bin(range, shift, shared.select);
}

// Copies the keys that the CTAs have listed to shared.gathered of this one.
template <int kThreads>
__device__ void gather_listed(const ClusterPlace& place, SpreadShared& shared) {
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint32_t count = 0;
  if (lane < place.size) count = ptx::load_cluster_u32(remote(&shared.listed_count, lane));
  const std::uint32_t through = warp_sum_through(count);
  constexpr std::uint32_t kWarps = kThreads / 32;
  for (std::uint32_t rank = threadIdx.x / 32; rank < place.size; rank += kWarps) {
    const std::uint32_t part = __shfl_sync(~0u, count, static_cast<int>(rank));
    const std::uint32_t before = __shfl_sync(~0u, through, static_cast<int>(rank)) - part;
    const std::uint32_t keys = remote(shared.listed, rank);
#pragma unroll 4
    for (std::uint32_t i = lane; i < part; i += 32)
      shared.gathered[before + i] = ptx::load_cluster_u32(keys + 4 * i);
  }
}

// The threshold of the whole cluster's row; all CTAs find the same.
template <int kThreads, class ForEach>
__device__ Range find_threshold_in_cluster(Range left, const ClusterPlace& place,
                                           SpreadShared& shared, ForEach own_keys) {
  do {
    left = narrow_once_in_cluster<kThreads>(left, place, shared, own_keys);
  } while (left.active != left.need && left.active > kMostListed && left.last != 0);
  if (left.active == left.need || left.last == 0) return left;
  own_keys([&](std::uint32_t key) {
    if (left.holds(key)) shared.listed[atomicAdd(&shared.listed_count, 1u)] = key;
  });
  ptx::cluster_sync();  // C
  gather_listed<kThreads>(place, shared);
  __syncthreads();
  const std::uint32_t count = left.active;
  const auto gathered_keys = [&](auto visit) {
    for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) visit(shared.gathered[i]);
  };
  left = narrow<kThreads>(left, kTopkFinalists, shared.select, gathered_keys);
  if (left.active == left.need || left.last == 0) return left;
  return rank_finalists<kThreads>(left, shared.select, gathered_keys);
}

template <int kThreads, int kValues>
__global__ void __launch_bounds__(kThreads, 1)
    spread_topk_kernel(const __grid_constant__ TopkArguments a) {
  static_assert(kTopkMostCluster <= 32);
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<SpreadShared*>(dynamic_shared);
  auto* staged = reinterpret_cast<std::int32_t*>(dynamic_shared + sizeof(SpreadShared));
  const ClusterPlace place{ptx::cluster_rank(), ptx::cluster_size()};
  const int row = static_cast<int>(blockIdx.x / place.size);
  const int thread = static_cast<int>(threadIdx.x);
  clear_bins<kThreads>(shared);
  if (thread == 0) {
    shared.select.finalist_count = 0;
    shared.listed_count = 0;
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int length = max(end_of_row(a, row) - begin, 0);
  std::int32_t* out = a.indices + row * a.indices_stride;
  if (length <= a.topk) {  // the whole cluster agrees: nobody waits for another
    if (place.rank == 0) {
      for (int i = thread; i < a.topk; i += kThreads) out[i] = i < length ? i : -1;
    }
    return;
  }

  float values[kValues];
  const int first = (static_cast<int>(place.rank) * kThreads + thread) * kValues;
  load_scores(a.scores + row * a.scores_stride + begin, first, length, values);
  std::uint32_t keys[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) keys[i] = key_of(values[i]);
  __syncthreads();  // the bins are zero

  const Range left = find_threshold_in_cluster<kThreads>(
      {0, ~0u, place.size * kThreads * kValues, static_cast<std::uint32_t>(a.topk)}, place, shared,
      OwnKeys<kValues>{keys});
  const Marks marks(keys, left);
  const BlockSum sum = block_sum<kThreads>(marks.counts(), shared.select.warp_sum);
  if (threadIdx.x < place.size)
    ptx::store_cluster_u32(remote(&shared.marked[place.rank], threadIdx.x), sum.total);
  ptx::cluster_sync();  // D
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t before = lane < place.rank ? shared.marked[lane] : 0;
  const std::uint32_t equal_before = __reduce_add_sync(~0u, before >> 16);
  out += __reduce_add_sync(~0u, before & 0xffff) + min(equal_before, left.need);
  // Of the elements equal to the threshold, those before this CTA's, before this thread's, and with
  // this CTA's, as far as they are wanted.
  const auto wanted = [&](std::uint32_t equal) { return min(equal_before + equal, left.need); };
  const std::uint32_t of_thread = wanted(sum.before >> 16);
  stage_positions<kValues>(marks.taken(left.need - of_thread), first,
                           staged + (sum.before & 0xffff) + of_thread - wanted(0));
  __syncthreads();
  const std::uint32_t count = (sum.total & 0xffff) + wanted(sum.total >> 16) - wanted(0);
  for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) out[i] = staged[i];
}

}  // namespace dsaperf::kernels::sm90
