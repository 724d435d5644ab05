#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/clusters.cuh"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma_few_columns.cuh"

#include <cuda_bf16.h>

#include <cstdint>

// Block-scaled e4m3 GEMM for few rows of x: y = (x * x_scales) (w * w_scales)^T, so the weights'
// bytes are all that counts and they have to stream from as many SMs as there are.
//
// The weights are operand A: 64 rows of w (columns of y) are M of wgmma, the rows of x are N. A
// tile of 64 columns is summed by the CTAs of a cluster, each over its part of k; the partial sums
// meet through distributed shared memory and are added in the order of the parts, so two runs agree
// bit for bit. Up to 128 rows the number of parts depends on n and k alone; up to 64 rows, which
// are always taken here, a row gives the same bits whatever stands beside it.
//
//   producer warp   per step of 128 of k: w and x --copy engine--> stage, scales of x --cp.async-->
//   stage math warpgroup  wait full, 4 wgmma (K = 32), arrive empty, sum += scales * products in
//   f32
//
//   barrier  arrivals                             waited for by
//   full     32 cp.async of the producer's lanes, its first lane + bytes of w, x   math
//   empty    4 math warps                         producer
//
//   bound by  the weights' bytes: 18.6 B/clk and SM of 132 at 4.3 TB/s
//   smem      kStages x (8 KB + 128 B a row of x); two CTAs an SM
namespace dsaperf::kernels::sm90 {

template <int kRows>
struct FewRows {
  static constexpr int kStepK = kQuantGroup;
  static constexpr int kStages = kRows <= 32 ? 8 : kRows == 64 ? 6 : 4;
  static constexpr int kWeightBytes = kFewRowsTileN * kStepK;
  static constexpr int kRowBytes = kRows * kStepK;
  static constexpr int kThreads = 160;
  // Floats between two rows of x among the partial sums: 4 more than a row, so that the eight rows
  // and four columns of a warp's store lie in different banks.
  static constexpr int kPitch = kFewRowsTileN + 4;

  struct Shared {
    std::uint8_t w[kStages][kWeightBytes];
    std::uint8_t x[kStages][kRowBytes];
    float scales[kStages][kRows];
    std::uint64_t full[kStages];
    std::uint64_t empty[kStages];
  };
  // The partial sums take the place of w and x when all have been multiplied.
  static_assert(kRows * kPitch * sizeof(float) <= kStages * (kWeightBytes + kRowBytes));
};

// Which steps of k a CTA sums.
struct StepRange {
  int begin;
  int end;
};
__device__ inline StepRange steps_of_part(int steps, int part, int parts) {
  return {steps * part / parts, steps * (part + 1) / parts};
}

template <int kRows>
__device__ void load_few_rows(const Fp8GemmArguments& a, typename FewRows<kRows>::Shared& shared,
                              StepRange range, int first_n, int first_m) {
  using C = FewRows<kRows>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int step = range.begin; step < range.end; ++step) {
    const int use = step - range.begin;
    const int stage = use % C::kStages;
    ptx::mbarrier_wait(ptx::shared_address(&shared.empty[stage]), ((use / C::kStages) & 1) ^ 1);
    const std::uint32_t full = ptx::shared_address(&shared.full[stage]);
    if (ptx::elect_one()) {
      ptx::mbarrier_arrive_expect_tx(full, C::kWeightBytes + C::kRowBytes);
      ptx::tensor_load_2d(ptx::shared_address(shared.w[stage]), &a.w, full, step * C::kStepK,
                          first_n);
      ptx::tensor_load_2d(ptx::shared_address(shared.x[stage]), &a.x, full, step * C::kStepK,
                          first_m);
    }
    for (int row = lane; row < kRows; row += 32) {
      const bool there = first_m + row < a.p.m;
      const float* source =
          there ? a.p.x_scales + (first_m + row) * a.p.x_scales_stride + step : a.p.x_scales;
      ptx::cp_async_4(ptx::shared_address(&shared.scales[stage][row]), source, there ? 4 : 0);
    }
    ptx::mbarrier_arrive_after_cp_async(full);
  }
}

template <int kRows>
__device__ void multiply_few_rows(const Fp8GemmArguments& a,
                                  typename FewRows<kRows>::Shared& shared, StepRange range,
                                  int first_n, float (&total)[kRows / 2]) {
  using C = FewRows<kRows>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float* w_scales = a.p.w_scales + first_n / kQuantGroup * a.p.w_scales_stride;
  float products[kRows / 2];
  float w_scale = range.begin < range.end ? w_scales[range.begin] : 0;
  for (int step = range.begin; step < range.end; ++step) {
    const int use = step - range.begin;
    const int stage = use % C::kStages;
    const float next_w_scale = step + 1 < range.end ? w_scales[step + 1] : 0;
    ptx::mbarrier_wait(ptx::shared_address(&shared.full[stage]), (use / C::kStages) & 1);
    const std::uint64_t w = ptx::swizzled_128b(ptx::shared_address(shared.w[stage]), 16);
    const std::uint64_t x = ptx::swizzled_128b(ptx::shared_address(shared.x[stage]), 16);
    ptx::wgmma_fence();
#pragma unroll
    for (int i = 0; i < C::kStepK / 32; ++i) {
      ptx::wgmma_e4m3<kRows>(products, w + 2 * i, x + 2 * i, i != 0);
    }
    ptx::wgmma_commit();
    const auto scale = [&](int j) {
      const float2 pair = reinterpret_cast<const float2*>(shared.scales[stage])[4 * j + lane % 4];
      return float2{pair.x * w_scale, pair.y * w_scale};
    };
    // Ready when the products are; more of them do not fit beside two sums of 64.
    constexpr int kReady = kRows / 8 < 8 ? kRows / 8 : 8;
    float2 ready[kReady];
#pragma unroll
    for (int j = 0; j < kReady; ++j) ready[j] = scale(j);
    ptx::wgmma_wait<0>();
    ptx::own_registers(products);
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j) {
      const float2 s = j < kReady ? ready[j % kReady] : scale(j);
      total[4 * j] = fmaf(s.x, products[4 * j], total[4 * j]);
      total[4 * j + 1] = fmaf(s.y, products[4 * j + 1], total[4 * j + 1]);
      total[4 * j + 2] = fmaf(s.x, products[4 * j + 2], total[4 * j + 2]);
      total[4 * j + 3] = fmaf(s.y, products[4 * j + 3], total[4 * j + 3]);
    }
    __syncwarp();
    ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.empty[stage]), lane);
    w_scale = next_w_scale;
  }
}

template <int kRows>
__global__ void __launch_bounds__(FewRows<kRows>::kThreads, 2)
    fp8_gemm_few_rows_kernel(const __grid_constant__ Fp8GemmArguments a) {
  using C = FewRows<kRows>;
  extern __shared__ __align__(1024) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<typename C::Shared*>(dynamic_shared);
  const int parts = static_cast<int>(ptx::cluster_size());
  const int part = static_cast<int>(ptx::cluster_rank());
  const int first_n = static_cast<int>(blockIdx.x) / parts * kFewRowsTileN;
  const int first_m = static_cast<int>(blockIdx.y) * kRows;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  if (threadIdx.x == 0) {
    for (int i = 0; i < C::kStages; ++i) {
      ptx::mbarrier_init(ptx::shared_address(&shared.full[i]), 1 + 32);
      ptx::mbarrier_init(ptx::shared_address(&shared.empty[i]), 4 * ptx::kArrivalsOfWarp);
    }
    ptx::fence_mbarrier_init();
    ptx::prefetch_tensor_map(&a.w);
    ptx::prefetch_tensor_map(&a.x);
  }
  const StepRange range = steps_of_part(a.steps, part, parts);
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  __syncthreads();

  auto* sums = reinterpret_cast<float*>(dynamic_shared);  // [kRows][kPitch], row of x first
  if (warp == 4) {
    load_few_rows<kRows>(a, shared, range, first_n, first_m);
  } else {
    float total[kRows / 2] = {};
    multiply_few_rows<kRows>(a, shared, range, first_n, total);
    // Every warp is done with the stages before any writes over them.
    ptx::named_barrier_sync(1, 128);
    const int column = 16 * warp + lane / 4;
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j) {
      float* at = sums + (8 * j + 2 * (lane % 4)) * C::kPitch + column;
      at[0] = total[4 * j];
      at[C::kPitch] = total[4 * j + 1];
      at[8] = total[4 * j + 2];
      at[C::kPitch + 8] = total[4 * j + 3];
    }
  }
  __syncwarp();
  ptx::cluster_sync();

  // Each CTA finishes its share of the tile, four columns of a row a thread and turn.
  auto* y = static_cast<__nv_bfloat16*>(a.p.y);
  constexpr int kQuads = kFewRowsTileN / 4;
  const int quads = kRows * kQuads / parts;
  const std::uint32_t own = ptx::shared_address(sums);
  for (int i = static_cast<int>(threadIdx.x); i < quads; i += C::kThreads) {
    const int quad = part * quads + i;
    const int row = quad / kQuads;
    const int column = 4 * (quad % kQuads);
    if (first_m + row >= a.p.m) break;
    const std::uint32_t at = own + (row * C::kPitch + column) * sizeof(float);
    float4 of_part[kFewRowsMostParts];  // all on their way before the first is added
#pragma unroll
    for (int from = 0; from < kFewRowsMostParts; ++from)
      if (from < parts) of_part[from] = ptx::load_cluster_f32x4(ptx::cluster_address(at, from));
    float4 sum{0, 0, 0, 0};
#pragma unroll
    for (int from = 0; from < kFewRowsMostParts; ++from) {
      if (from >= parts) break;
      sum.x += of_part[from].x;
      sum.y += of_part[from].y;
      sum.z += of_part[from].z;
      sum.w += of_part[from].w;
    }
    const float values[4] = {sum.x, sum.y, sum.z, sum.w};
    __nv_bfloat16* out = y + (first_m + row) * a.p.y_stride + first_n + column;
    const std::int64_t left = a.p.n - (first_n + column);
    if (left >= 4 && reinterpret_cast<std::uintptr_t>(out) % 8 == 0) {
      __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(values[0], values[1]),
                                 __floats2bfloat162_rn(values[2], values[3])};
      *reinterpret_cast<uint2*>(out) = *reinterpret_cast<const uint2*>(pairs);
    } else {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (c < left) out[c] = __float2bfloat16_rn(values[c]);
      }
    }
  }
  ptx::cluster_sync();  // the sums are read until here
}

template <int kRows>
cudaError_t launch_fp8_few_rows(const Fp8GemmArguments& arguments, int parts, cudaStream_t stream) {
  using C = FewRows<kRows>;
  constexpr int kBytes = static_cast<int>(sizeof(typename C::Shared));
  return launch_in_clusters(
      fp8_gemm_few_rows_kernel<kRows>, arguments,
      dim3(static_cast<unsigned>((arguments.p.n + kFewRowsTileN - 1) / kFewRowsTileN * parts),
           static_cast<unsigned>((arguments.p.m + kRows - 1) / kRows)),
      C::kThreads, parts, kBytes, stream);
}

}  // namespace dsaperf::kernels::sm90
