#pragma once

#include "dsaperf/kernels/sm90/indexer_select/keep.cuh"
#include "dsaperf/kernels/sm90/indexer_select/launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/place.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/kernel.cuh"

#include <cstdint>

// Exact selection from what the CTAs that scored have kept (keep.cuh): one CTA a request. The lists
// of its segments are copied to shared memory and selected from as in top-k; where they are more
// than fit, from where they stand.
//
//   bound by  latency: lengths, counts, lists from L2, then some thousand elements in shared memory
//   smem      128 KB of elements, 8 KB of bins, 1 bit a position
namespace dsaperf::kernels::sm90 {

inline constexpr int kSelectKeptThreads = 1024;

// What one CTA has kept of the request.
struct KeptPart {
  const KeptElement* elements;
  std::uint32_t before;  // elements of the parts before it
};

struct alignas(16) KeptShared {
  TopkShared topk;
  KeptPart parts[kMostScoringCtas + 1];  // one beyond the last: before = all
  std::uint32_t least;                   // key of all
};

// All kept elements of a request, part by part.
struct KeptRequest {
  const KeptPart* parts;
  int count;
};

// Calls visit(i, key, position); several loads of a thread are in flight.
template <int kThreads, class Visit>
__device__ void for_each_with_number(const KeptRequest& source, Visit visit) {
  constexpr int kBatch = 8;
  int part = 0;
  for (int base = static_cast<int>(threadIdx.x); base < source.count; base += kBatch * kThreads) {
    KeptElement batch[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int i = base + j * kThreads;
      if (i >= source.count) break;
      while (static_cast<std::uint32_t>(i) >= source.parts[part + 1].before) ++part;
      const KeptPart& from = source.parts[part];
      batch[j] = from.elements[i - static_cast<int>(from.before)];
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int i = base + j * kThreads;
      if (i < source.count) visit(i, batch[j].key, batch[j].position);
    }
  }
}

template <int kThreads, class Visit>
__device__ void for_each(const KeptRequest& source, Visit visit) {
  for_each_with_number<kThreads>(
      source, [&](int, std::uint32_t key, std::uint32_t position) { visit(key, position); });
}

// Finds the parts of a request that has tiles, and what they have kept in all. Two block barriers.
template <class Config>
__device__ KeptSummary gather_parts(const SelectKeptArguments& a, int request, KeptShared& shared) {
  const RequestPlace place =
      place_of_request<Config>(a.context_length, a.requests, a.keys, request);
  const auto ctas = static_cast<std::uint32_t>(a.ctas);
  const int first_cta = part_with(place.tiles_at, place.total, ctas);
  const int last_cta = part_with(place.tiles_at + place.tiles - 1, place.total, ctas);
  const int parts = last_cta - first_cta + 1;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t segment = std::int64_t{request} + first_cta + thread;
  KeptSummary own{0, ~0u, 0};
  if (thread < parts) {
    const auto cta = static_cast<unsigned>(first_cta + thread);
    // Where there are more CTAs than tiles some have none, and leave nothing.
    if (share(place.total, cta + 1, ctas) > max(share(place.total, cta, ctas), place.tiles_at))
      own = a.kept.summaries[segment];
    atomicMin(&shared.least, own.least);
    atomicMax(&shared.topk.largest, own.largest);
  }
  const BlockSum sum = block_sum<kSelectKeptThreads>(own.count, shared.topk.warp_sum);
  if (thread < parts) shared.parts[thread] = {a.kept.elements + segment * kMostKept, sum.before};
  if (thread == 0) shared.parts[parts] = {nullptr, sum.total};
  __syncthreads();
  return {sum.total, shared.least, shared.topk.largest};
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
  clear_bins<kSelectKeptThreads>(shared.topk.histogram);
  if (thread == 0) {
    shared.topk.finalist_count = 0;
    shared.topk.largest = 0;
    shared.least = ~0u;
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
  const KeptSummary summary = gather_parts<Config>(a, request, shared);
  const KeptRequest kept{shared.parts, static_cast<int>(summary.count)};
  const Range all{summary.least, summary.largest - summary.least, summary.count,
                  static_cast<std::uint32_t>(topk)};
  if (kept.count > kSelectListed) {
    select_and_write<kSelectKeptThreads>(kept, static_cast<std::uint32_t>(length), all, list,
                                         bitmap, out, shared.topk);
    return;
  }
  // The first round's counts are taken on the way.
  const int shift = bin_shift(all.last);
  for_each_with_number<kSelectKeptThreads>(
      kept, [&](int i, std::uint32_t key, std::uint32_t position) {
        list.entries[i] = {key, position};
        atomicAdd(&shared.topk.histogram[(key - all.lo) >> shift], 1u);
      });
  __syncthreads();
  const Range range = range_of_bin(
      all, shift, find_bin<kSelectKeptThreads, true>(shared.topk.histogram, all.need, shared.topk));
  select_and_write<kSelectKeptThreads>(ListedCandidates{list.entries, kept.count},
                                       static_cast<std::uint32_t>(length), range, list, bitmap, out,
                                       shared.topk);
}

}  // namespace dsaperf::kernels::sm90
