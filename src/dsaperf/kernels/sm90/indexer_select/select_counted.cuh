#pragma once

#include "dsaperf/kernels/sm90/indexer_select/count.cuh"
#include "dsaperf/kernels/sm90/indexer_select/launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/place.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/kernel.cuh"

#include <cstdint>
#include <limits>

// Exact selection from the scores of decode while they are written: a cluster of CTAs a request,
// which begins when all CTAs of the grid that scores are there, on the SMs that these leave, and
// waits for its own request alone. The counts of the request's segments name the bin of the
// threshold, so one pass over the row tells what is above it from what competes for the last
// places: bits in shared memory, of which the competing ones, some hundreds, are listed and
// selected from as in topk/select.cuh. Where too many compete (ties, scores close to each other)
// one CTA selects from the row itself, in rounds.
//
// CTAs that score wait for none of these, so both grids end whatever else the GPU runs.
//
//   bound by  latency: progress, counts and scores from L2; 7 instructions of a warp for 32 scores
//   smem      32 KB of competing elements, as much for the result, 8 KB of bins, 1 bit a position
namespace dsaperf::kernels::sm90 {

inline constexpr int kSelectCountedThreads = 512;
inline constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();

struct alignas(16) CountedShared {
  TopkShared topk;
  bool has_tiles[kMostScoringCtas];  // of the request, by the CTAs that score
  std::uint32_t taken;               // of this CTA's slice of the row
};

// Waits until a request that has tiles is scored, and adds up the counts of its segments into
// topk.histogram. Two block barriers, the last at the end.
template <class Config>
__device__ void gather_counts(const SelectCountedArguments& a, int request, CountedShared& shared) {
  const RequestPlace place =
      place_of_request<Config>(a.context_length, a.requests, a.keys, request);
  const auto ctas = static_cast<unsigned>(a.ctas);
  const int first_cta = part_with(place.tiles_at, place.total, ctas);
  const int parts = part_with(place.tiles_at + place.tiles - 1, place.total, ctas) - first_cta + 1;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < parts) {
    const auto cta = static_cast<unsigned>(first_cta + thread);
    const int begin = max(share(place.total, cta, ctas), place.tiles_at);
    // Where there are more CTAs than tiles some have none.
    shared.has_tiles[thread] = share(place.total, cta + 1, ctas) > begin;
    if (shared.has_tiles[thread]) wait_for_scores(a.counts, first_cta + thread, request);
  }
  __syncthreads();
  static_assert(kScoreBins == 4 * kSelectCountedThreads && kScoreBins == kTopkBins);
  const auto* counts = reinterpret_cast<const uint4*>(
      a.counts.histograms + (std::int64_t{request} + first_cta) * kScoreBins);
  uint4 own{};
#pragma unroll 8
  for (int part = 0; part < parts; ++part) {
    const uint4 of_part =
        shared.has_tiles[part] ? counts[part * kSelectCountedThreads + thread] : uint4{};
    own.x += of_part.x;
    own.y += of_part.y;
    own.z += of_part.z;
    own.w += of_part.w;
  }
  reinterpret_cast<uint4*>(shared.topk.histogram)[thread] = own;
  __syncthreads();
}

// A slice of a row: what a CTA of the cluster looks at. Its words are of 32 positions.
struct RowSlice {
  const float* scores;  // its first
  int first;            // its position
  int count;

  __device__ RowSlice(const float* row, int length) {
    first = min(static_cast<int>(ptx::cluster_rank()) * most(length), length);
    count = min(most(length), length - first);
    scores = row + first;
  }
  // Positions of any slice of a row.
  __device__ static int most(int length) {
    const int units = (length + kSliceUnit - 1) / kSliceUnit;
    const auto cluster = static_cast<int>(ptx::cluster_size());
    return (units + cluster - 1) / cluster * kSliceUnit;
  }
  __device__ int words() const { return (count + 31) / 32; }
};

// Of a slice, sets the bits of the scores from `beyond` on (NaN: of none) in whole units of `bits`,
// and lists those below it from `lowest` on, in no order; shared.candidates counts them.
__device__ inline void split_slice(const RowSlice& slice, float lowest, float beyond,
                                   std::uint32_t* bits, Candidate* entries, TopkShared& shared) {
  constexpr int kWords = kSliceUnit / 32;
  constexpr int kStep = kSelectCountedThreads / 32 * kSliceUnit;
  float ahead[kWords];  // in flight
  int own = static_cast<int>(threadIdx.x) / 32 * kSliceUnit + static_cast<int>(threadIdx.x) % 32;
  const auto load_four = [&](int own, int j) {
#pragma unroll
    for (int i = j; i < j + 4; ++i)
      ahead[i] = own + 32 * i < slice.count ? slice.scores[own + 32 * i] : kNoNumber;
  };
#pragma unroll
  for (int j = 0; j < kWords; j += 4) load_four(own, j);
  for (; (own & ~31) < slice.count; own += kStep) {
#pragma unroll
    for (int j = 0; j < kWords; j += 4) {
      const float scores[4] = {ahead[j], ahead[j + 1], ahead[j + 2], ahead[j + 3]};
      load_four(own + kStep, j);
      std::uint32_t above[4];
      std::uint32_t any_within = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        above[i] = __ballot_sync(~0u, scores[i] >= beyond);
        any_within |= __ballot_sync(~0u, scores[i] >= lowest) ^ above[i];
      }
      if (own % 32 == 0)
        reinterpret_cast<uint4*>(bits + own / 32)[j / 4] =
            uint4{above[0], above[1], above[2], above[3]};
      if (any_within == 0) continue;
      const auto competes = [&](int i) { return scores[i] >= lowest && !(scores[i] >= beyond); };
      std::uint32_t competing = 0;  // of most lanes none
#pragma unroll
      for (int i = 0; i < 4; ++i) competing += competes(i) ? 1 : 0;
      if (competing != 0) {
        Candidate* at = entries + atomicAdd(&shared.candidates, competing);
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (competes(i))
            *at++ = {key_of(scores[i]),
                     static_cast<std::uint32_t>(slice.first + own + 32 * (j + i))};
      }
    }
  }
}

// Appends what the other CTAs of the cluster have listed to the `own` entries of this one; warps
// are spread over the ranks. Begins with a barrier of the cluster.
__device__ inline void append_others(Candidate* entries, TopkShared& shared, std::uint32_t own) {
  ptx::cluster_sync();
  const std::uint32_t cluster = ptx::cluster_size();
  const std::uint32_t lane = threadIdx.x % 32;
  const bool other = lane < cluster && lane != ptx::cluster_rank();
  const std::uint32_t count = other ? ptx::load_cluster_u32(ptx::cluster_address(
                                          ptx::shared_address(&shared.candidates), lane))
                                    : 0;
  const std::uint32_t before = warp_sum_through(count) - count;
  const std::uint32_t warps_of_rank = kSelectCountedThreads / 32 / cluster;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t rank = warp / warps_of_rank;
  const std::uint32_t of_rank = __shfl_sync(~0u, count, static_cast<int>(rank));
  Candidate* to = entries + own + __shfl_sync(~0u, before, static_cast<int>(rank));
  const std::uint32_t from = ptx::cluster_address(ptx::shared_address(entries), rank);
  for (std::uint32_t i = warp % warps_of_rank * 32 + lane; i < of_rank; i += warps_of_rank * 32)
    to[i] = ptx::load_cluster_u32x2(from + sizeof(Candidate) * i);
  __syncthreads();
}

// Writes the positions whose bits are set, ascending, behind those of the slices before. `staged`:
// shared memory for as many. One block barrier before it; arrives at the last barrier of the
// cluster.
__device__ inline void write_slice(const RowSlice& slice, const std::uint32_t* bits,
                                   std::int32_t* staged, std::int32_t* out, CountedShared& shared) {
  const int words_of_thread = (slice.words() + kSelectCountedThreads - 1) / kSelectCountedThreads;
  const int first = static_cast<int>(threadIdx.x) * words_of_thread;
  const int end = min(first + words_of_thread, slice.words());
  std::uint32_t own = 0;
  for (int word = first; word < end; ++word) own += static_cast<std::uint32_t>(__popc(bits[word]));
  const BlockSum sum = block_sum<kSelectCountedThreads>(own, shared.topk.warp_sum);
  if (threadIdx.x == 0) shared.taken = sum.total;
  std::int32_t* at = staged + sum.before;
  for (int word = first; word < end; ++word)
    at = write_bits(bits[word], static_cast<std::uint32_t>(slice.first + 32 * word), at);
  if (ptx::cluster_size() > 1) {
    ptx::cluster_sync();
    const std::uint32_t lane = threadIdx.x % 32;
    out += __reduce_add_sync(~0u, lane < ptx::cluster_rank()
                                      ? ptx::load_cluster_u32(ptx::cluster_address(
                                            ptx::shared_address(&shared.taken), lane))
                                      : 0);
    ptx::cluster_arrive();  // this thread looks at no other CTA's memory any more
  }
  write_staged<kSelectCountedThreads>(staged, sum.total, out);
}

// The competing elements stand in the first half of the list's memory, the result in the second.
inline constexpr int kMostCompeting = kSelectListed / 2;

__device__ inline std::int64_t request_of_cta() {
  return blockIdx.x / ptx::cluster_size();
}

__device__ inline std::int32_t* out_of_cta(const SelectCountedArguments& a) {
  return a.indices + request_of_cta() * a.indices_stride;
}

// Selects where few enough compete. What is needed after the split is found there anew: the split
// has no register to spare.
__device__ inline void select_by_bin(const SelectCountedArguments& a, const RowSlice& slice,
                                     int length, const CandidateList& list, std::uint32_t* bits,
                                     CountedShared& shared) {
  {
    const Range range = range_of_score_bin(a.topk, shared.topk.found);
    const std::uint32_t beyond = range.lo + range.last + 1;  // 0: there is none
    split_slice(slice, float_of(range.lo), beyond == 0 ? kNoNumber : float_of(beyond), bits,
                list.entries, shared.topk);
  }
  __syncthreads();
  const Range range = range_of_score_bin(a.topk, shared.topk.found);
  const std::uint32_t own = shared.topk.candidates;
  if (ptx::cluster_size() > 1) append_others(list.entries, shared.topk, own);
  const ListedCandidates competitors{list.entries, static_cast<int>(range.active)};
  const Threshold threshold = find_threshold<kSelectCountedThreads>(
      range, static_cast<std::uint32_t>(length), shared.topk,
      [&](auto visit) { for_each<kSelectCountedThreads>(competitors, visit); });
  const Bitmap bitmap{bits, static_cast<std::uint32_t>(slice.first),
                      static_cast<std::uint32_t>(slice.count)};
  mark_taken<kSelectCountedThreads>(ListedCandidates{list.entries, static_cast<int>(own)},
                                    threshold, bitmap);
  __syncthreads();
  write_slice(slice, bits, reinterpret_cast<std::int32_t*>(list.entries + kMostCompeting),
              out_of_cta(a), shared);
  if (ptx::cluster_size() > 1) ptx::cluster_wait();  // others may still read this CTA's memory
}

// Selects of one request that has more than topk scores. `bitmap` is clear.
template <class Config>
__device__ void select_request(const SelectCountedArguments& a, int length,
                               const CandidateList& list, const Bitmap& bitmap,
                               CountedShared& shared) {
  const float* scores = a.scores + request_of_cta() * a.scores_stride;
  gather_counts<Config>(a, static_cast<int>(request_of_cta()), shared);
  const FoundBin found = find_bin<kSelectCountedThreads, true>(
      shared.topk.histogram, static_cast<std::uint32_t>(a.topk), shared.topk);
  const RowSlice slice(scores, length);
  // The lowest bin has what is no number.
  if (found.bin != 0 && found.count <= kMostCompeting && RowSlice::most(length) <= a.window) {
    select_by_bin(a, slice, length, list, bitmap.words, shared);
  } else if (ptx::cluster_rank() == 0) {  // ties, scores close to each other
    select_and_write<kSelectCountedThreads>(
        RowInMemory{scores, length}, static_cast<std::uint32_t>(length),
        range_of_score_bin(a.topk, found), list, bitmap, out_of_cta(a), shared.topk);
  }
}

template <class Config>
__global__ void __launch_bounds__(kSelectCountedThreads, 2)
    select_counted_kernel(const __grid_constant__ SelectCountedArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<CountedShared*>(dynamic_shared);
  const CandidateList list{reinterpret_cast<Candidate*>(dynamic_shared + sizeof(CountedShared)),
                           kSelectListed};
  const Bitmap bitmap{reinterpret_cast<std::uint32_t*>(list.entries + kSelectListed), 0,
                      static_cast<std::uint32_t>(a.window)};
  const auto request = static_cast<int>(request_of_cta());
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < a.window / 128; i += kSelectCountedThreads)
    reinterpret_cast<uint4*>(bitmap.words)[i] = uint4{};
  if (thread == 0) {
    shared.topk.candidates = 0;
    shared.topk.largest = 0;
    shared.topk.finalist_count = 0;
  }
  ptx::launch_next_grid();

  // All CTAs of the grid that scores have waited for what it depends on, lengths among it, before
  // this one could begin.
  const int length = max(min(a.context_length[request], a.keys), 0);
  if (length > a.topk) {
    select_request<Config>(a, length, list, bitmap, shared);
  } else if (ptx::cluster_rank() == 0) {
    std::int32_t* out = out_of_cta(a);
    for (int i = thread; i < a.topk; i += kSelectCountedThreads) out[i] = i < length ? i : -1;
  }
  ptx::wait_for_previous_grid();  // so that who waits for this grid has waited for both
}

}  // namespace dsaperf::kernels::sm90
