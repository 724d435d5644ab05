#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/clusters.cuh"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/tensor_load.cuh"
#include "dsaperf/kernels/sm90/ptx/tensor_store.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"

#include <cuda_bf16.h>

#include <cstdint>

// Block-scaled e4m3 GEMM for many rows of x: y = (x * x_scales) (w * w_scales)^T.
//
// A persistent CTA takes tiles of kTileM x kTileN of y. Two CTAs of a cluster take tiles side by
// side that share the rows of x, or one below the other that share those of w, whichever are more:
// these are fetched once for both, half by each.
//   producer warp    per step of 128 of k: the shared rows --copy engine--> stage of both CTAs, the
//                    others --copy engine--> stage; scales of four steps with the first of them
//   math warpgroups  kParts x 64 rows each: wait full; per 64 rows 4 wgmma (K = 32) of 64 x kTileN,
//                    sum += scales * products; after the last 64 arrive empty at both CTAs. At the
//                    end bf16 --stmatrix--> staged --copy engine--> y, beside the next tile
//
//   barrier  arrivals                          waited for by
//   full     producer + bytes                  math
//   empty    4 warps x warpgroups x CTAs       producer
//
//   bound by  tensor cores, 64 x kTileN x 128 in 2 * kTileN clk, at a clock that falls to 1.2 ...
//             1.65 GHz under them: bytes that move and instructions cost time even where they are
//             hidden (docs/kernels/fp8_gemm.md)
namespace dsaperf::kernels::sm90 {

template <int kWarpgroups, int kParts, int kColumns>
struct ManyRows {
  static constexpr int kStepK = kQuantGroup;
  static constexpr int kMathWarpgroups = kWarpgroups;
  static constexpr int kPartsOfWarpgroup = kParts;  // of 64 rows, M of wgmma
  static constexpr int kRowsOfWarpgroup = 64 * kParts;
  static constexpr int kTileM = kRowsOfWarpgroup * kWarpgroups;
  static constexpr int kTileN = kColumns;
  static constexpr int kThreads = 128 * (kWarpgroups + 1);
  static constexpr int kMathRegisters = kWarpgroups == 3 ? 160 : 232;
  static constexpr int kLoadRegisters = kWarpgroups == 3 ? 32 : 40;

  static constexpr bool kSharesX = shares_x(kTileM, kTileN);
  static constexpr int kRowsOfSharedBox = (kSharesX ? kTileM : kTileN) / 2;
  static constexpr int kStageBytes = (kTileM + kTileN) * kStepK;

  // Blocks of 128 columns, each with a scale of its own, that a tile has part of. Every 64 columns
  // lie in one.
  static constexpr int kBlocks = kTileN <= kQuantGroup ? 1 : 2;
  static_assert(kTileN == 64 || kTileN == 128 || kTileN == 192);

  static constexpr int kBoxBytes = 64 * 128;  // of y: 64 rows x 64 columns
  static constexpr int kStagedBytes = kTileM * kTileN * 2;

  static constexpr int kScaleSteps = kManyRowsScaleSteps;
  // The copy engine writes to multiples of 128 bytes.
  static constexpr int kPaddedBlocks = 128 / (kScaleSteps * static_cast<int>(sizeof(float)));
  static constexpr int kScaleBytes = (kTileM + kBlocks) * kScaleSteps * 4;
  static constexpr int kMostStages = 8;
  // Scales of four steps are overwritten when their last step has been multiplied.
  static constexpr int scale_stages(int stages) {
    return (stages + 2 * (kScaleSteps - 1)) / kScaleSteps;
  }
  static constexpr int kFit =
      (227 * 1024 - 1024 - kStagedBytes - scale_stages(kMostStages) * (kScaleBytes + 128)) /
      (kStageBytes + 16);
  static constexpr int kStages = kFit < kMostStages ? kFit : kMostStages;
  static constexpr int kScaleStages = scale_stages(kStages);
  static_assert(kStages >= 3);

  static constexpr int kRowTilesOfGroup = 4096 / kTileM;  // whose x and w fit the L2 together

  struct Shared {
    std::uint8_t x[kStages][kTileM * kStepK];
    std::uint8_t w[kStages][kTileN * kStepK];
    std::uint8_t staged[kWarpgroups][kParts][kTileN / 64][kBoxBytes];  // 128-byte swizzle
    alignas(128) float x_scales[kScaleStages][kTileM][kScaleSteps];
    alignas(128) float w_scales[kScaleStages][kPaddedBlocks][kScaleSteps];
    std::uint64_t full[kStages];
    std::uint64_t empty[kStages];
  };
};

// The tiles of a CTA, in the order in which clusters take them in turn: down the rows of a group,
// then to the next columns, so that the clusters at work share both x and w in L2. A cluster's tile
// is that of both its CTAs. No division from one to the next: it would be waited for.
template <class C>
class TileWalk {
 public:
  __device__ explicit TileWalk(const Fp8GemmParams& p) {
    begin_group(p, static_cast<int>(blockIdx.x) / ctas());
  }

  __device__ static int ctas() { return static_cast<int>(ptx::cluster_size()); }
  __device__ static int rank() { return static_cast<int>(ptx::cluster_rank()); }
  __device__ bool done() const { return height_ == 0; }

  // The first row and column of the CTA's tile.
  __device__ int first_row() const {
    const int row = group_row_ + row_;
    return C::kTileM * (C::kSharesX ? row : row * ctas() + rank());
  }
  __device__ int first_column() const {
    return C::kTileN * (C::kSharesX ? column_ * ctas() + rank() : column_);
  }

  __device__ void next(const Fp8GemmParams& p) {
    row_ += further_rows_;
    column_ += further_columns_;
    if (row_ >= height_) {
      row_ -= height_;
      ++column_;
    }
    if (column_ < columns(p)) return;
    const int beyond = (column_ - columns(p)) * height_ + row_;
    group_row_ += height_;
    begin_group(p, beyond);
  }

 private:
  // Clusters' tiles, one below the other and side by side.
  __device__ static int rows(const Fp8GemmParams& p) {
    return tiles(p.m, C::kTileM * (C::kSharesX ? 1 : ctas()));
  }
  __device__ static int columns(const Fp8GemmParams& p) {
    return tiles(p.n, C::kTileN * (C::kSharesX ? ctas() : 1));
  }
  __device__ static int tiles(std::int64_t size, int of_tile) {
    return (static_cast<int>(size) + of_tile - 1) / of_tile;
  }

  // Of the groups from the one of group_row_ on, tile number `tile`.
  __device__ void begin_group(const Fp8GemmParams& p, int tile) {
    for (;; group_row_ += height_) {
      height_ = min(rows(p) - group_row_, C::kRowTilesOfGroup / (C::kSharesX ? 1 : ctas()));
      if (height_ == 0) return;
      if (tile < height_ * columns(p)) break;
      tile -= height_ * columns(p);
    }
    row_ = tile % height_;
    column_ = tile / height_;
    const int clusters = static_cast<int>(gridDim.x) / ctas();
    further_rows_ = clusters % height_;
    further_columns_ = clusters / height_;
  }

  int group_row_ = 0;
  int height_ = 0;  // of the group, in clusters' tiles; 0: no tile is left
  int row_ = 0;     // in the group
  int column_ = 0;
  int further_rows_ = 0;
  int further_columns_ = 0;
};

// Where a warp stands in the rings of stages and of scales.
template <class C>
struct RingPosition {
  int stage = 0;
  std::uint32_t parity = 0;
  int scales = 0;

  __device__ void next_stage() {
    if (++stage == C::kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  __device__ void next_scales() { scales = scales + 1 == C::kScaleStages ? 0 : scales + 1; }
};

// Rows of x or w that both CTAs of a cluster need: half of them each, for both. Without a cluster
// all of them.
template <class C>
__device__ void load_shared_rows(const TileWalk<C>& tile, std::uint32_t destination,
                                 const CUtensorMap* map, std::uint32_t full, int k, int row) {
  constexpr int kRows = C::kRowsOfSharedBox;
  constexpr int kBytes = kRows * C::kStepK;
  if (tile.ctas() == 2) {
    ptx::tensor_load_2d_multicast(destination + tile.rank() * kBytes, map, full, k,
                                  row + tile.rank() * kRows, 0b11);
  } else {
    ptx::tensor_load_2d(destination, map, full, k, row);
    ptx::tensor_load_2d(destination + kBytes, map, full, k, row + kRows);
  }
}

// One warp calls it.
template <class C>
__device__ void load_tiles(const Fp8GemmArguments& a, typename C::Shared& shared,
                           TileWalk<C> tile) {
  RingPosition<C> at;
  for (; !tile.done(); tile.next(a.p)) {
    const int first_row = tile.first_row();
    const int first_column = tile.first_column();
    for (int step = 0; step < a.steps; ++step) {
      const bool with_scales = step % C::kScaleSteps == 0;
      const std::uint32_t full = ptx::shared_address(&shared.full[at.stage]);
      const std::uint32_t x = ptx::shared_address(shared.x[at.stage]);
      const std::uint32_t w = ptx::shared_address(shared.w[at.stage]);
      const int k = step * C::kStepK;
      ptx::mbarrier_wait(ptx::shared_address(&shared.empty[at.stage]), at.parity ^ 1);
      if (ptx::elect_one()) {
        ptx::mbarrier_arrive_expect_tx(full, C::kStageBytes + (with_scales ? C::kScaleBytes : 0));
        if constexpr (C::kSharesX) {
          load_shared_rows<C>(tile, x, &a.x, full, k, first_row);
          ptx::tensor_load_2d(w, &a.w, full, k, first_column);
        } else {
          load_shared_rows<C>(tile, w, &a.w, full, k, first_column);
          ptx::tensor_load_2d(x, &a.x, full, k, first_row);
        }
        if (with_scales) {
          ptx::tensor_load_2d(ptx::shared_address(shared.x_scales[at.scales]), &a.x_scales, full,
                              step, first_row);
          ptx::tensor_load_2d(ptx::shared_address(shared.w_scales[at.scales]), &a.w_scales, full,
                              step, first_column / kQuantGroup);
        }
      }
      __syncwarp();
      if (with_scales) at.next_scales();
      at.next_stage();
    }
  }
}

// Two neighbouring columns of a row; `left` columns are there.
__device__ inline void store_pair(__nv_bfloat16* out, float a, float b, bool aligned,
                                  std::int64_t left) {
  if (aligned && left >= 2) {
    *reinterpret_cast<__nv_bfloat162*>(out) = __floats2bfloat162_rn(a, b);
  } else {
    if (left >= 1) out[0] = __float2bfloat16_rn(a);
    if (left >= 2) out[1] = __float2bfloat16_rn(b);
  }
}

__device__ inline std::uint32_t packed(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// Rounds 64 rows of a math warpgroup to boxes of 64 x 64 at `staged`.
template <class C>
__device__ void stage_part(const float (&sums)[C::kTileN / 2], std::uint32_t staged) {
  const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // A lane names a row of one of four 8 x 8 matrices: rows 0 ... 7 and 8 ... 15 of the warp, eight
  // columns and the next eight.
  const int row = 16 * warp + lane % 16;
#pragma unroll
  for (int j = 0; j < C::kTileN / 8; j += 2) {
    const int chunk = (j % 8 + lane / 16) ^ (row % 8);
    const float* const here = &sums[4 * j];
    ptx::stmatrix_x4(staged + j / 8 * C::kBoxBytes + row * 128 + chunk * 16,
                     packed(here[0], here[1]), packed(here[2], here[3]), packed(here[4], here[5]),
                     packed(here[6], here[7]));
  }
}

// Hands a math warpgroup's rows of a tile, from first_row on, to the copy engine, which writes them
// while the warpgroup goes on.
template <class C>
__device__ void copy_tile(const Fp8GemmArguments& a, typename C::Shared& shared, int warpgroup,
                          const float (&sums)[C::kPartsOfWarpgroup][C::kTileN / 2], int first_row,
                          int first_column) {
  const auto& staged = shared.staged[warpgroup];
  const int barrier = 1 + warpgroup;
  const bool copies = static_cast<int>(threadIdx.x) / 32 % 4 == 0;
  if (copies) ptx::wait_until_stores_are_read();  // of the tile before
  ptx::named_barrier_sync(barrier, 128);
#pragma unroll
  for (int part = 0; part < C::kPartsOfWarpgroup; ++part)
    stage_part<C>(sums[part], ptx::shared_address(staged[part]));
  ptx::fence_async_shared();
  ptx::named_barrier_sync(barrier, 128);
  if (copies && ptx::elect_one()) {
#pragma unroll
    for (int part = 0; part < C::kPartsOfWarpgroup; ++part)
#pragma unroll
      for (int box = 0; box < C::kTileN / 64; ++box)
        ptx::tensor_store_2d(&a.y, ptx::shared_address(staged[part][box]), first_column + 64 * box,
                             first_row + 64 * part);
    ptx::commit_stores();
  }
  __syncwarp();
}

// 64 rows of a tile, value by value, where the copy engine does not take y; `row` is that of the
// thread.
template <class C>
__device__ void store_part(const Fp8GemmParams& p, const float (&sums)[C::kTileN / 2],
                           std::int64_t row, int first_column) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(p.y) % 4 == 0 && p.y_stride % 2 == 0;
  const int column = first_column + 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int half = 0; half < 2; ++half, row += 8) {
    if (row >= p.m) continue;
    __nv_bfloat16* const out = static_cast<__nv_bfloat16*>(p.y) + row * p.y_stride + column;
#pragma unroll
    for (int j = 0; j < C::kTileN / 8; ++j)
      store_pair(out + 8 * j, sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1], aligned,
                 p.n - column - 8 * j);
  }
}

// Products of scales of one row, for each 64 columns.
template <class C>
struct RowScales {
  float of[C::kTileN / 64];

  // first_column: of the tile.
  __device__ RowScales(float of_x, const float (&of_w)[C::kBlocks], int first_column) {
#pragma unroll
    for (int i = 0; i < C::kTileN / 64; ++i) {
      // Of three times 64 columns the middle ones lie with the first or with the last.
      const bool in_first = i == 0 || (i == 1 && first_column % kQuantGroup == 0);
      of[i] = of_x * (in_first ? of_w[0] : of_w[C::kBlocks - 1]);
    }
  }
};

// A math warpgroup's sums of a tile.
template <class C>
struct TileSums {
  float of[C::kPartsOfWarpgroup][C::kTileN / 2] = {};

  // Adds the step that is at `at`, number `of_four` of those that have scales there; x and w:
  // descriptors of the warpgroup's rows and of the columns; `row`: the thread's, in the tile.
  __device__ void add(typename C::Shared& shared, const RingPosition<C>& at, int of_four,
                      std::uint64_t x, std::uint64_t w, int row, int first_column, int ctas) {
    ptx::mbarrier_wait(ptx::shared_address(&shared.full[at.stage]), at.parity);
#pragma unroll
    for (int part = 0; part < C::kPartsOfWarpgroup; ++part) {
      float products[C::kTileN / 2];
      ptx::wgmma_fence();
#pragma unroll
      for (int i = 0; i < C::kStepK / 32; ++i)
        ptx::wgmma_e4m3<C::kTileN>(products, x + part * (64 * C::kStepK / 16) + 2 * i, w + 2 * i,
                                   i != 0);
      ptx::wgmma_commit();
      float of_w[C::kBlocks];
#pragma unroll
      for (int i = 0; i < C::kBlocks; ++i) of_w[i] = shared.w_scales[at.scales][i][of_four];
      const auto& of_x = shared.x_scales[at.scales];
      const RowScales<C> upper(of_x[row + 64 * part][of_four], of_w, first_column);
      const RowScales<C> lower(of_x[row + 64 * part + 8][of_four], of_w, first_column);
      ptx::wgmma_wait<0>();
      ptx::own_registers(products);
      if (part + 1 == C::kPartsOfWarpgroup) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        __syncwarp();
        if (lane < ctas)
          ptx::mbarrier_arrive_cluster_after_reads(ptx::cluster_address(
              ptx::shared_address(&shared.empty[at.stage]), static_cast<std::uint32_t>(lane)));
      }
#pragma unroll
      for (int j = 0; j < C::kTileN / 8; ++j) {
        float* const sums = &of[part][4 * j];
        sums[0] = fmaf(upper.of[j / 8], products[4 * j], sums[0]);
        sums[1] = fmaf(upper.of[j / 8], products[4 * j + 1], sums[1]);
        sums[2] = fmaf(lower.of[j / 8], products[4 * j + 2], sums[2]);
        sums[3] = fmaf(lower.of[j / 8], products[4 * j + 3], sums[3]);
      }
    }
  }
};

template <class C>
__device__ void multiply_tiles(const Fp8GemmArguments& a, typename C::Shared& shared,
                               TileWalk<C> tile, int warpgroup) {
  const int thread = static_cast<int>(threadIdx.x) % 128;
  const int warpgroup_row = C::kRowsOfWarpgroup * warpgroup;
  const int thread_row = warpgroup_row + 16 * (thread / 32) + thread % 32 / 4;
  const std::uint64_t first_x =
      ptx::swizzled_128b(ptx::shared_address(&shared.x[0][warpgroup_row * C::kStepK]), 16);
  const std::uint64_t first_w = ptx::swizzled_128b(ptx::shared_address(shared.w[0]), 16);
  RingPosition<C> at;
  for (; !tile.done(); tile.next(a.p)) {
    const int first_row = tile.first_row();
    const int first_column = tile.first_column();
    TileSums<C> sums;
    for (int step = 0; step < a.steps; step += C::kScaleSteps) {
#pragma unroll
      for (int of_four = 0; of_four < C::kScaleSteps; ++of_four) {
        sums.add(shared, at, of_four, first_x + at.stage * (C::kTileM * C::kStepK / 16),
                 first_w + at.stage * (C::kTileN * C::kStepK / 16), thread_row, first_column,
                 tile.ctas());
        at.next_stage();
      }
      at.next_scales();
    }
    if (a.y_by_copy) {
      copy_tile<C>(a, shared, warpgroup, sums.of, first_row + warpgroup_row, first_column);
    } else {
#pragma unroll
      for (int part = 0; part < C::kPartsOfWarpgroup; ++part)
        store_part<C>(a.p, sums.of[part], first_row + thread_row + 64 * part, first_column);
    }
  }
  ptx::wait_until_stores_are_read();
}

template <class C>
__global__ void __launch_bounds__(C::kThreads, 1)
    fp8_gemm_many_rows_kernel(const __grid_constant__ Fp8GemmArguments a) {
  extern __shared__ __align__(1024) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<typename C::Shared*>(dynamic_shared);
  const TileWalk<C> tile(a.p);

  if (threadIdx.x == 0) {
    for (int i = 0; i < C::kStages; ++i) {
      ptx::mbarrier_init(ptx::shared_address(&shared.full[i]), 1);
      ptx::mbarrier_init(ptx::shared_address(&shared.empty[i]),
                         4 * C::kMathWarpgroups * tile.ctas());
    }
    ptx::fence_mbarrier_init();
    ptx::prefetch_tensor_map(&a.x);
    ptx::prefetch_tensor_map(&a.w);
    ptx::prefetch_tensor_map(&a.x_scales);
    ptx::prefetch_tensor_map(&a.w_scales);
    if (a.y_by_copy) ptx::prefetch_tensor_map(&a.y);
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  ptx::cluster_sync();  // the barriers of both CTAs are there

  // One value for the warp, and the compiler shall know it.
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  if (warp >= 4 * C::kMathWarpgroups) {
    ptx::fewer_registers<C::kLoadRegisters>();
    if (warp == 4 * C::kMathWarpgroups) load_tiles<C>(a, shared, tile);
  } else {
    ptx::more_registers<C::kMathRegisters>();
    multiply_tiles<C>(a, shared, tile, warp / 4);
  }
  // The other CTA copies into this one and arrives at its barriers until it is done.
  __syncwarp();
  ptx::cluster_sync();
}

template <int kWarpgroups, int kParts, int kColumns>
cudaError_t launch_fp8_many_rows(const Fp8GemmArguments& arguments, int ctas, int sm_count,
                                 cudaStream_t stream) {
  using C = ManyRows<kWarpgroups, kParts, kColumns>;
  constexpr int kBytes = static_cast<int>(sizeof(typename C::Shared));
  return launch_in_clusters(fp8_gemm_many_rows_kernel<C>, arguments,
                            dim3(static_cast<unsigned>(sm_count / ctas * ctas)), C::kThreads, ctas,
                            kBytes, stream);
}

}  // namespace dsaperf::kernels::sm90
