#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Exact top-k of rows that fit in the registers of one CTA: each thread holds kValues neighbours.
// The threshold is found in rounds of 11 bits over all of them; then each thread knows which of its
// own are taken, and a sum over the block says where they go, in ascending order. Where one value
// is left that not all may have (after relu zero, known from its number after one round), the same
// sum says which ones: the lowest positions. The output is put together in shared memory and
// written by neighbouring lanes.
//
//   bound by  instructions: about 30 an element
//   smem      8 KB of bins, 4 topk bytes
//   limits    columns <= kThreads * kValues < 65536
namespace dsaperf::kernels::sm90 {

template <int kThreads, int kValues>
__global__ void __launch_bounds__(kThreads, (kValues > 8 ? 768 : 1024) / kThreads)
    short_topk_kernel(const __grid_constant__ TopkArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<TopkShared*>(dynamic_shared);
  auto* staged = reinterpret_cast<std::int32_t*>(dynamic_shared + sizeof(TopkShared));
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kTopkBins / 4; i += kThreads) {
    reinterpret_cast<uint4*>(shared.histogram)[i] = uint4{};
  }
  if (thread == 0) {
    shared.finalist_count = 0;
    shared.zeros = 0;
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int end = end_of_row(a, row);
  const int length = max(end - begin, 0);
  const float* __restrict__ scores = a.scores + row * a.scores_stride + begin;
  std::int32_t* out = a.indices + row * a.indices_stride;
  if (length <= a.topk) {
    for (int i = thread; i < a.topk; i += kThreads) out[i] = i < length ? i : -1;
    return;
  }

  const int first = thread * kValues;
  const int count = min(max(length - first, 0), kValues);
  float values[kValues];
  if (reinterpret_cast<std::uintptr_t>(scores) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
      float4 vector{};
      if (i + 4 <= count) {
        vector = *reinterpret_cast<const float4*>(scores + first + i);
      } else {
        if (i < count) vector.x = scores[first + i];
        if (i + 1 < count) vector.y = scores[first + i + 1];
        if (i + 2 < count) vector.z = scores[first + i + 2];
      }
      values[i] = vector.x;
      values[i + 1] = vector.y;
      values[i + 2] = vector.z;
      values[i + 3] = vector.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] = i < count ? scores[first + i] : 0.0f;
  }
  std::uint32_t keys[kValues];
#pragma unroll
  for (int i = 0; i < kValues; ++i) keys[i] = key_of(values[i]);
  __syncthreads();

  const auto for_each = [&](auto visit) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      if (i < count) visit(keys[i], static_cast<std::uint32_t>(first + i));
    }
  };
  std::uint32_t zeros = 0;
  for_each([&](std::uint32_t key, std::uint32_t) { zeros += key == kKeyOfZero ? 1 : 0; });
  zeros = __reduce_add_sync(~0u, zeros);
  if (thread % 32 == 0 && zeros != 0) atomicAdd(&shared.zeros, zeros);

  const auto visit_keys = [&](auto count) {
    for_each([&](std::uint32_t key, std::uint32_t) { count(key); });
  };
  Range left = narrow_once<kThreads>(
      {0, ~0u, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(a.topk)}, shared,
      visit_keys);
  if (left.holds(kKeyOfZero) && left.active == shared.zeros)
    left = {kKeyOfZero, 0, left.active, left.need};
  left = narrow<kThreads>(left, kTopkFinalists, shared, visit_keys);
  const bool tied = left.last == 0 && left.active != left.need;
  Threshold threshold{left.lo, 0};
  if (!tied && left.active != left.need) {
    const auto last = static_cast<std::uint32_t>(length) - 1;
    threshold = threshold_of_few(left, {~last, last, left.active, left.need}, shared, for_each);
  }

  std::uint32_t taken = 0;
  std::uint32_t equal = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    if (i >= count) continue;
    if (tied && keys[i] == left.lo) {
      equal |= 1u << i;
    } else if (threshold.takes(keys[i], static_cast<std::uint32_t>(first + i))) {
      taken |= 1u << i;
    }
  }
  // Both numbers in one sum; a row has fewer than 2^16 elements.
  const BlockSum sum = block_sum<kThreads>(
      static_cast<std::uint32_t>(__popc(taken) + (__popc(equal) << 16)), shared.warp_sum);
  const std::uint32_t equal_before = min(sum.before >> 16, left.need);
  std::uint32_t equal_left = left.need - equal_before;
  std::int32_t* at = staged + (sum.before & 0xffff) + equal_before;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    bool own = (taken >> i & 1) != 0;
    if ((equal >> i & 1) != 0 && equal_left != 0) {
      own = true;
      --equal_left;
    }
    if (own) *at++ = first + i;
  }
  __syncthreads();
  for (int i = thread; i < a.topk; i += kThreads) out[i] = staged[i];
}

}  // namespace dsaperf::kernels::sm90
