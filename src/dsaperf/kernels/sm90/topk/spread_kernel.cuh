#pragma once

#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Exact top-k of few rows, each spread over the registers of a cluster: CTA `rank` holds the
// kThreads * kValues elements from rank * kThreads * kValues on, each thread kValues neighbours.
//
// The threshold is found in rounds of 11 bits, as select.cuh does within one CTA. A round counts
// into 2048 bins in each CTA; each CTA then sums its share of the bins over the cluster through
// distributed shared memory and writes the sums into all CTAs; all find the same bin. At most 128
// elements that are left are read by every CTA, which rank them all and agree without a message.
// Then each CTA tells the others how many of its elements are taken, and writes them where those
// of the CTAs before it end: ascending, as the positions of a CTA follow those of the one before.
//
//   bound by  latency: launch, one load, per round two cluster barriers and two hops
//   smem      28 KB, and 4 bytes an element that a CTA may write
//   limits    columns <= cluster * kThreads * kValues; cluster a power of two up to 16
//
//   cluster barrier           before it                      after it
//   A, each round             own bins counted               bins of others read
//   B, each round             sums written to all            sums read; own bins cleared
//   C, with finalists         finalists listed               those of others read
//   D                         counts of taken written to all output; nothing remote any more
namespace dsaperf::kernels::sm90 {

inline constexpr int kTopkMostCluster = 16;

struct alignas(16) SpreadShared {
  TopkShared select;                        // its histogram: the bins of this CTA
  std::uint32_t own_sums[kTopkBins];        // over the cluster, of this CTA's share of the bins
  std::uint32_t sums[kTopkBins];            // of all bins
  std::uint64_t finalists[kTopkFinalists];  // of the whole cluster
  std::uint32_t taken[kTopkMostCluster];    // elements, by rank
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

template <int kThreads, class ForEach>
__device__ Range narrow_in_cluster(Range range, const ClusterPlace& place, SpreadShared& shared,
                                   ForEach for_each) {
  while (range.active != range.need && range.active > kTopkFinalists && range.last != 0)
    range = narrow_once_in_cluster<kThreads>(range, place, shared, for_each);
  return range;
}

// Copies the finalists that each CTA has listed in shared.select to shared.finalists of this one.
template <int kThreads>
__device__ void gather_finalists(const ClusterPlace& place, SpreadShared& shared) {
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint32_t count = 0;
  if (lane < place.size) count = ptx::load_cluster_u32(remote(&shared.select.finalist_count, lane));
  const std::uint32_t through = warp_sum_through(count);
  for (std::uint32_t rank = threadIdx.x / 32; rank < place.size; rank += kThreads / 32) {
    const std::uint32_t part = __shfl_sync(~0u, count, static_cast<int>(rank));
    const std::uint32_t before = __shfl_sync(~0u, through, static_cast<int>(rank)) - part;
    const std::uint32_t entries = remote(shared.select.finalists, rank);
    for (std::uint32_t i = lane; i < part; i += 32) {
      const uint2 entry = ptx::load_cluster_u32x2(entries + 8 * i);
      shared.finalists[before + i] = static_cast<std::uint64_t>(entry.y) << 32 | entry.x;
    }
  }
}

// find_threshold_by over the elements of all CTAs of the cluster.
template <int kThreads, class ForEach>
__device__ Threshold find_threshold_in_cluster(const Range& keys, std::uint32_t length,
                                               const ClusterPlace& place, SpreadShared& shared,
                                               ForEach for_each) {
  return find_threshold_by(
      keys, length, for_each,
      [&](const Range& range, auto visit) {
        return narrow_in_cluster<kThreads>(range, place, shared, visit);
      },
      [&](const Range& left, const Range& places) {
        list_finalists(left, places, shared.select, for_each);
        ptx::cluster_sync();  // C
        gather_finalists<kThreads>(place, shared);
        __syncthreads();
        return threshold_of_finalists(shared.finalists, places, shared.select);
      });
}

template <int kThreads, int kValues>
__global__ void __launch_bounds__(kThreads, 1)
    spread_topk_kernel(const __grid_constant__ TopkArguments a) {
  static_assert(kTopkFinalists <= kThreads && kTopkMostCluster <= kThreads && kValues <= 32);
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<SpreadShared*>(dynamic_shared);
  auto* staged = reinterpret_cast<std::int32_t*>(dynamic_shared + sizeof(SpreadShared));
  const ClusterPlace place{ptx::cluster_rank(), ptx::cluster_size()};
  const int row = static_cast<int>(blockIdx.x / place.size);
  const int thread = static_cast<int>(threadIdx.x);
  clear_bins<kThreads>(shared);
  if (thread == 0) shared.select.finalist_count = 0;
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int length = max(end_of_row(a, row) - begin, 0);
  const float* __restrict__ scores = a.scores + row * a.scores_stride + begin;
  std::int32_t* out = a.indices + row * a.indices_stride;
  if (length <= a.topk) {  // the whole cluster agrees: nobody waits for another
    if (place.rank == 0) {
      for (int i = thread; i < a.topk; i += kThreads) out[i] = i < length ? i : -1;
    }
    return;
  }

  const int first = (static_cast<int>(place.rank) * kThreads + thread) * kValues;
  const int count = min(max(length - first, 0), kValues);
  float values[kValues];
  if (count == kValues && reinterpret_cast<std::uintptr_t>(scores) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(scores + first + i);
      values[i] = four.x;
      values[i + 1] = four.y;
      values[i + 2] = four.z;
      values[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] = i < count ? scores[first + i] : 0.0f;
  }
  std::uint32_t keys[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) keys[i] = key_of(values[i]);
  __syncthreads();  // the bins are zero

  const auto for_each = [&](auto visit) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      if (i < count) visit(keys[i], static_cast<std::uint32_t>(first + i));
    }
  };
  const Threshold threshold = find_threshold_in_cluster<kThreads>(
      {0, ~0u, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(a.topk)},
      static_cast<std::uint32_t>(length), place, shared, for_each);

  std::uint32_t taken = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    if (i < count && threshold.takes(keys[i], static_cast<std::uint32_t>(first + i)))
      taken |= 1u << i;
  }
  const BlockSum sum =
      block_sum<kThreads>(static_cast<std::uint32_t>(__popc(taken)), shared.select.warp_sum);
  if (threadIdx.x < place.size)
    ptx::store_cluster_u32(remote(&shared.taken[place.rank], threadIdx.x), sum.total);
  std::int32_t* at = staged + sum.before;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    if ((taken >> i & 1) != 0) *at++ = first + i;
  }
  ptx::cluster_sync();  // D
  const std::uint32_t lane = threadIdx.x % 32;
  out += __reduce_add_sync(~0u, lane < place.rank ? shared.taken[lane] : 0);
  for (std::uint32_t i = threadIdx.x; i < sum.total; i += kThreads) out[i] = staged[i];
}

}  // namespace dsaperf::kernels::sm90
