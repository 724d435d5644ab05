#pragma once

#include "dsaperf/kernels/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <cuda_bf16.h>

#include <cstdint>

// y = (x * x_scales) (w * w_scales)^T with e4m3 inputs: products of 128 of k are summed by
// mma.sync, then added to the f32 accumulator times the two scales, so that scales of any value are
// applied in f32.
//
//   roles     all warps alike; each owns kWarpM x kWarpN of the tile
//   pipeline  kStages slots of (x tile, w tile), 128 bytes of k each, filled by cp.async
//   smem      kStages * (kTileM + kTileN) * 128 bytes; 16-byte chunks xor-swizzled by row, so that
//             ldmatrix and cp.async are free of conflicts
//   bound by  mma.sync's rate for many rows; the weights' bytes for few
namespace dsaperf::kernels::block_scaled {

inline constexpr int kTileK = kQuantGroup;  // one scale a row and step
inline constexpr int kStages = 4;

template <int kTileM, int kTileN>
struct Config {
  static constexpr int kWarpsM = kTileM >= 128 ? 2 : 1;
  static constexpr int kWarpsN = 4;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kTileM / kWarpsM;
  static constexpr int kWarpN = kTileN / kWarpsN;
  static constexpr int kMmasM = kWarpM / 16;
  static constexpr int kMmasN = kWarpN / 8;
  static constexpr int kSharedBytes = kStages * (kTileM + kTileN) * kTileK;
  static_assert(kWarpM % 16 == 0 && kWarpN % 8 == 0 && kQuantGroup % kTileN == 0);
};

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes, or zeros where `valid` is false (the source is then not read).
__device__ inline void copy_async_16(std::uint32_t target, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
               "r"(valid ? 16 : 0));
}

__device__ inline void load_matrix_x4(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

__device__ inline void load_matrix_x2(std::uint32_t (&r)[2], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(address));
}

__device__ inline void mma_e4m3(float (&d)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Byte offset of 16-byte chunk `chunk` of row `row` in a tile of 128-byte rows.
__device__ inline std::uint32_t swizzled(int row, int chunk) {
  return static_cast<std::uint32_t>(row * kTileK + ((chunk ^ (row & 7)) * 16));
}

// Fills a tile of `kRows` rows, 128 bytes of k from `k` on. Rows and bytes beyond the matrix become
// zero.
template <int kRows, int kThreads>
__device__ void fill(std::uint32_t tile, const std::uint8_t* matrix, std::int64_t first_row,
                     std::int64_t rows, std::int64_t stride, std::int64_t k, std::int64_t columns) {
  constexpr int kChunks = kTileK / 16;
#pragma unroll 1
  for (int c = static_cast<int>(threadIdx.x); c < kRows * kChunks; c += kThreads) {
    const int row = c / kChunks;
    const int chunk = c % kChunks;
    const std::int64_t column = k + 16 * chunk;
    const bool valid = first_row + row < rows && column < columns;
    const auto* source = valid ? matrix + (first_row + row) * stride + column : matrix;
    copy_async_16(tile + swizzled(row, chunk), source, valid);
  }
}

template <int kTileM, int kTileN>
__global__ void __launch_bounds__(Config<kTileM, kTileN>::kThreads)
    fp8_gemm_kernel(const Fp8GemmParams params) {
  using C = Config<kTileM, kTileN>;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t base = shared_address(shared);
  constexpr int kStageBytes = (kTileM + kTileN) * kTileK;

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_m = warp % C::kWarpsM * C::kWarpM;
  const int warp_n = warp / C::kWarpsM * C::kWarpN;
  const std::int64_t first_m = std::int64_t{blockIdx.y} * kTileM;
  const std::int64_t first_n = std::int64_t{blockIdx.x} * kTileN;
  const auto steps = static_cast<int>((params.k + kTileK - 1) / kTileK);
  const auto load = [&](int step) {
    if (step < steps) {
      const std::uint32_t tile = base + step % kStages * kStageBytes;
      const std::int64_t k = std::int64_t{step} * kTileK;
      fill<kTileM, C::kThreads>(tile, params.x, first_m, params.m, params.x_stride, k, params.k);
      fill<kTileN, C::kThreads>(tile + kTileM * kTileK, params.w, first_n, params.n,
                                params.w_stride, k, params.k);
    }
    asm volatile("cp.async.commit_group;" ::);
  };

  float total[C::kMmasM][C::kMmasN][4] = {};
  for (int step = 0; step < kStages - 1; ++step) load(step);
  for (int step = 0; step < steps; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2));
    __syncthreads();
    const std::uint32_t x_tile = base + step % kStages * kStageBytes;
    const std::uint32_t w_tile = x_tile + kTileM * kTileK;

    float part[C::kMmasM][C::kMmasN][4] = {};
#pragma unroll 1  // unrolled, the addresses of four steps at once spill
    for (int k = 0; k < kTileK / 32; ++k) {
      std::uint32_t a[C::kMmasM][4];
      std::uint32_t b[C::kMmasN][2];
#pragma unroll
      for (int i = 0; i < C::kMmasM; ++i) {
        // Lanes 0-15 name rows of the left 16 bytes, lanes 16-31 of the right ones.
        load_matrix_x4(a[i], x_tile + swizzled(warp_m + 16 * i + lane % 16, 2 * k + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < C::kMmasN; ++j) {
        load_matrix_x2(b[j], w_tile + swizzled(warp_n + 8 * j + lane % 8, 2 * k + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < C::kMmasM; ++i) {
#pragma unroll
        for (int j = 0; j < C::kMmasN; ++j) mma_e4m3(part[i][j], a[i], b[j]);
      }
    }
    // The next tile goes into the slot that was read a step ago: every warp is past it.
    load(step + kStages - 1);

    const float w_scale = params.w_scales[first_n / kQuantGroup * params.w_scales_stride + step];
#pragma unroll
    for (int i = 0; i < C::kMmasM; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = first_m + warp_m + 16 * i + 8 * half + lane / 4;
        const float scale =
            row < params.m ? w_scale * params.x_scales[row * params.x_scales_stride + step] : 0;
#pragma unroll
        for (int j = 0; j < C::kMmasN; ++j) {
          total[i][j][2 * half] += scale * part[i][j][2 * half];
          total[i][j][2 * half + 1] += scale * part[i][j][2 * half + 1];
        }
      }
    }
  }

  auto* y = static_cast<__nv_bfloat16*>(params.y);
#pragma unroll
  for (int i = 0; i < C::kMmasM; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = first_m + warp_m + 16 * i + 8 * half + lane / 4;
      if (row >= params.m) continue;
#pragma unroll
      for (int j = 0; j < C::kMmasN; ++j) {
        const std::int64_t column = first_n + warp_n + 8 * j + lane % 4 * 2;
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if (column + c < params.n) {
            y[row * params.y_stride + column + c] = __float2bfloat16_rn(total[i][j][2 * half + c]);
          }
        }
      }
    }
  }
}

template <int kTileM, int kTileN>
cudaError_t launch_tile(const Fp8GemmParams& params, cudaStream_t stream) {
  using C = Config<kTileM, kTileN>;
  const auto kernel = fp8_gemm_kernel<kTileM, kTileN>;
  if (const auto code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             C::kSharedBytes);
      code != cudaSuccess) {
    return code;
  }
  const dim3 grid(static_cast<unsigned>((params.n + kTileN - 1) / kTileN),
                  static_cast<unsigned>((params.m + kTileM - 1) / kTileM));
  kernel<<<grid, C::kThreads, C::kSharedBytes, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::block_scaled
