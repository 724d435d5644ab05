#pragma once

#include "dsaperf/kernels/sm90/indexer_select/keep.cuh"
#include "dsaperf/kernels/sm90/indexer_select/launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/place.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/kernel.cuh"

#include <cstdint>

// Exact selection from what the CTAs that scored have kept (keep.cuh): one CTA a request. The sum
// of its segments' bins names the bin of the threshold, so one pass over the kept elements finds
// those that are taken or compete for the last places; they are selected from as in top-k.
//
//   bound by  latency: lengths, bins, lists from L2, then about 3000 elements in shared memory
//   smem      64 KB of elements, 8 KB of bins, 1 bit a position
namespace dsaperf::kernels::sm90 {

inline constexpr int kSelectKeptThreads = 1024;

// What one CTA has kept of the request.
struct KeptPart {
  std::int32_t first_key;
  std::uint32_t count;
  std::uint32_t before;  // elements of the parts before it
};

struct alignas(16) KeptShared {
  TopkShared topk;
  KeptPart parts[kMostScoringCtas + 1];  // one beyond the last: before = all
};

// All kept elements of a request, part by part.
struct KeptRequest {
  const KeptElement* elements;
  const KeptPart* parts;
  int count;
};

// Calls visit(valid, key, position) in whole warps; several loads of a thread are in flight.
template <int kThreads, class Visit>
__device__ void for_each_in_warps(const KeptRequest& source, Visit visit) {
  constexpr int kBatch = 8;
  int part = 0;
  for (int base = static_cast<int>(threadIdx.x) & ~31; base < source.count;
       base += kBatch * kThreads) {
    KeptElement batch[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int i = base + j * kThreads + static_cast<int>(threadIdx.x) % 32;
      if (i >= source.count) continue;
      while (static_cast<std::uint32_t>(i) >= source.parts[part + 1].before) ++part;
      const KeptPart& from = source.parts[part];
      batch[j] = source.elements[from.first_key + (i - static_cast<int>(from.before))];
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int i = base + j * kThreads + static_cast<int>(threadIdx.x) % 32;
      visit(i < source.count, batch[j].key, batch[j].position);
    }
  }
}

template <int kThreads, class Visit>
__device__ void for_each(const KeptRequest& source, Visit visit) {
  for_each_in_warps<kThreads>(source, [&](bool valid, std::uint32_t key, std::uint32_t position) {
    if (valid) visit(key, position);
  });
}

// Finds the parts of a request that has tiles, and adds up their bins into shared.topk.histogram;
// returns how many parts. Two block barriers.
template <class Config>
__device__ int gather_parts(const SelectKeptArguments& a, int request, KeptShared& shared) {
  const RequestPlace place =
      place_of_request<Config>(a.context_length, a.requests, a.keys, request);
  const auto ctas = static_cast<std::uint32_t>(a.ctas);
  const int first_cta = part_with(place.tiles_at, place.total, ctas);
  const int last_cta = part_with(place.tiles_at + place.tiles - 1, place.total, ctas);
  const int parts = last_cta - first_cta + 1;
  const int thread = static_cast<int>(threadIdx.x);
  std::uint32_t count = 0;
  if (thread < parts) {
    const auto cta = static_cast<unsigned>(first_cta + thread);
    const int begin = max(share(place.total, cta, ctas) - place.tiles_at, 0);
    // Where there are more CTAs than tiles some have none, and leave no count.
    if (share(place.total, cta + 1, ctas) - place.tiles_at > begin)
      count = a.kept.counts[request + first_cta + thread];
    shared.parts[thread].first_key = begin * Config::kTileKeys;
    shared.parts[thread].count = count;
  }
  constexpr int kBinsOfThread = kScoreBins / kSelectKeptThreads;
  static_assert(kBinsOfThread == 2 && kScoreBins == kTopkBins);
  const auto* bins = reinterpret_cast<const uint2*>(
      a.kept.histograms + (std::int64_t{request} + first_cta) * kScoreBins);
  const BlockSum sum = block_sum<kSelectKeptThreads>(count, shared.topk.warp_sum);
  if (thread < parts) shared.parts[thread].before = sum.before;
  if (thread == 0) shared.parts[parts].before = sum.total;
  uint2 own{};
#pragma unroll 4
  for (int part = 0; part < parts; ++part) {
    if (shared.parts[part].count == 0) continue;
    const uint2 of_part = bins[part * (kScoreBins / 2) + thread];
    own.x += of_part.x;
    own.y += of_part.y;
  }
  reinterpret_cast<uint2*>(shared.topk.histogram)[thread] = own;
  __syncthreads();
  return parts;
}

// Lists the elements from `least` on, in no order.
__device__ inline void list_from(const KeptRequest& source, std::uint32_t least,
                                 const CandidateList& list, TopkShared& shared) {
  const std::uint32_t lane = threadIdx.x % 32;
  for_each_in_warps<kSelectKeptThreads>(
      source, [&](bool valid, std::uint32_t key, std::uint32_t position) {
        const bool listed = valid && key >= least;
        const std::uint32_t lanes = __ballot_sync(~0u, listed);
        if (lanes == 0) return;
        std::uint32_t at = 0;
        if (lane == 0)
          at = atomicAdd(&shared.candidates, static_cast<std::uint32_t>(__popc(lanes)));
        at = __shfl_sync(~0u, at, 0);
        if (listed)
          list.entries[at + static_cast<std::uint32_t>(__popc(lanes & ((1u << lane) - 1)))] = {
              key, position};
      });
}

template <class Config>
__global__ void __launch_bounds__(kSelectKeptThreads, 1)
    select_kept_kernel(const __grid_constant__ SelectKeptArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<KeptShared*>(dynamic_shared);
  const CandidateList list{reinterpret_cast<Candidate*>(dynamic_shared + sizeof(KeptShared)),
                           kSelectListed};
  const Bitmap bitmap{reinterpret_cast<std::uint32_t*>(list.entries + kSelectListed), 0,
                      static_cast<std::uint32_t>(a.window)};
  const int request = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < a.window / 128; i += kSelectKeptThreads)
    reinterpret_cast<uint4*>(bitmap.words)[i] = uint4{};
  if (thread == 0) {
    shared.topk.candidates = 0;
    shared.topk.finalist_count = 0;
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  const int length = max(min(a.context_length[request], a.keys), 0);
  const int topk = a.kept.topk;
  std::int32_t* out = a.indices + request * a.indices_stride;
  if (length <= topk) {
    for (int i = thread; i < topk; i += kSelectKeptThreads) out[i] = i < length ? i : -1;
    return;
  }
  const int parts = gather_parts<Config>(a, request, shared);
  const KeptRequest kept{a.kept.elements + request * a.kept.stride, shared.parts,
                         static_cast<int>(shared.parts[parts].before)};
  const FoundBin found = find_bin<kSelectKeptThreads, true>(
      shared.topk.histogram, static_cast<std::uint32_t>(topk), shared.topk);
  const Range range = range_of_score_bin(topk, found);
  const std::uint32_t competing = found.above + found.count;
  if (competing > kSelectListed) {  // ties, or scores close to each other
    select_and_write<kSelectKeptThreads>(kept, static_cast<std::uint32_t>(length), range, list,
                                         bitmap, out, shared.topk);
    return;
  }
  list_from(kept, range.lo, list, shared.topk);
  __syncthreads();
  select_and_write<kSelectKeptThreads>(ListedCandidates{list.entries, static_cast<int>(competing)},
                                       static_cast<std::uint32_t>(length), range, list, bitmap, out,
                                       shared.topk);
}

}  // namespace dsaperf::kernels::sm90
