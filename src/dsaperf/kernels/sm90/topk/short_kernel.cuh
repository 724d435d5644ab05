#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/in_registers.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"

#include <cstdint>

// Exact top-k of rows that fit in the registers of one CTA. Rounds of 11 bits over all elements,
// then a ranking of the few that are left, find the threshold; a sum over the block says where
// those go that are taken, ascending. The output is put together in shared memory and written by
// neighbouring lanes.
//
//   bound by  latency where a row has an SM to itself, else instructions
//   smem      9.5 KB, and 4 topk bytes
//   limits    columns <= kThreads * kValues < 65536
namespace dsaperf::kernels::sm90 {

// Of the elements at zero, where relu leaves more than can be ranked: whether they are all of
// `range`. Two block barriers.
template <class ForEach>
__device__ bool all_at_zero(const Range& range, TopkShared& shared, ForEach for_each) {
  std::uint32_t zeros = 0;
  for_each([&](std::uint32_t key) { zeros += key == kKeyOfZero ? 1 : 0; });
  zeros = __reduce_add_sync(~0u, zeros);
  if (threadIdx.x % 32 == 0) atomicAdd(&shared.zeros, zeros);
  __syncthreads();
  return shared.zeros == range.active;
}

template <int kThreads, int kValues>
__global__ void __launch_bounds__(kThreads, 1024 / kThreads)
    short_topk_kernel(const __grid_constant__ TopkArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<TopkShared*>(dynamic_shared);
  auto* staged = reinterpret_cast<std::int32_t*>(dynamic_shared + sizeof(TopkShared));
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  clear_bins<kThreads>(shared.histogram);
  if (thread == 0) {
    shared.finalist_count = 0;
    shared.zeros = 0;
  }
  ptx::launch_next_grid();
  __syncthreads();  // beside the end of the grid before, if there is one
  ptx::wait_for_previous_grid();

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int length = max(end_of_row(a, row) - begin, 0);
  std::int32_t* out = a.indices + row * a.indices_stride;
  if (length <= a.topk) {
#pragma unroll 1
    for (int i = thread; i < a.topk; i += kThreads) out[i] = i < length ? i : -1;
    return;
  }
  const int first = thread * kValues;
  std::uint32_t keys[kValues];
  load_keys(a.scores + row * a.scores_stride + begin, first, length, keys);

  const OwnKeys<kValues> own_keys{keys};
  Range left = narrow_once<kThreads>(
      {0, ~0u, kThreads * kValues, static_cast<std::uint32_t>(a.topk)}, shared, own_keys);
  if (!left.decided() && left.active > kTopkFinalists && left.holds(kKeyOfZero) &&
      all_at_zero(left, shared, own_keys))
    left = {kKeyOfZero, 0, left.active, left.need};
  left = narrow<kThreads>(left, kTopkFinalists, shared, own_keys);
  if (!left.decided()) left = rank_finalists<kThreads>(left, shared, own_keys);

  const Cut cut(left);
  const BlockSum sum = block_sum<kThreads>(cut.counts(keys), shared.warp_sum);
  const std::uint32_t tied_before = min(sum.before >> 16, cut.tied);
  cut.write_positions(keys, first, cut.tied - tied_before,
                      staged + (sum.before & 0xffff) + tied_before);
  __syncthreads();
  if (a.topk % 4 == 0 && reinterpret_cast<std::uintptr_t>(out) % 16 == 0) {
#pragma unroll 1
    for (int i = thread; i < a.topk / 4; i += kThreads)
      reinterpret_cast<uint4*>(out)[i] = reinterpret_cast<const uint4*>(staged)[i];
  } else {
#pragma unroll 1
    for (int i = thread; i < a.topk; i += kThreads) out[i] = staged[i];
  }
}

}  // namespace dsaperf::kernels::sm90
