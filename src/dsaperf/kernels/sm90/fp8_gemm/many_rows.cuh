#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/clusters.cuh"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/tensor_load.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"

#include <cuda_bf16.h>

#include <cstdint>

// Block-scaled e4m3 GEMM for many rows of x: y = (x * x_scales) (w * w_scales)^T.
//
// A persistent cluster of two CTAs takes tiles of kTileM x 256 of y, each CTA 128 columns: the rows
// of x are fetched once for both, half by each. The products of 128 of k are summed by the tensor
// cores, then added in f32 times the two scales, so that scales of any value are applied in f32.
//   producer warp    per step of 128 of k: half of x --copy engine--> both CTAs,
//                    w --copy engine--> stage
//   math warpgroups  kTileM / 2 rows each, 64 at a time: wait full, 4 wgmma (K = 32) of 64 x 128;
//                    sum += scales * products; after the last 64 arrive empty at both CTAs. The
//                    scales of the next step are loaded meanwhile, by the threads that use them.
//
//   barrier  arrivals                     waited for by
//   full     producer + bytes             math
//   empty    4 warps x 2 warpgroups x 2   producer
//            CTAs
//
//   bound by  tensor cores: kTileM x 128 x 128 in 4 * kTileM clk, and sums, a quarter of that
//   L2        (kTileM / 2 + 128) * 128 B a step: 32 KB at 256 rows
namespace dsaperf::kernels::sm90 {

template <int kTileM>
struct ManyRows {
  static constexpr int kStepK = kQuantGroup;
  static constexpr int kTileN = kManyRowsTileN;
  static constexpr int kStages = kTileM == 256 ? 4 : 7;
  static constexpr int kMathWarpgroups = 2;
  static constexpr int kRowsOfWarpgroup = kTileM / kMathWarpgroups;
  static constexpr int kParts = kRowsOfWarpgroup / 64;  // M of wgmma
  static constexpr int kThreads = 128 * (kMathWarpgroups + 1);
  static constexpr int kLoadRegisters = 40;
  static constexpr int kMathRegisters = 232;
  static constexpr int kHalfBytes = kTileM / 2 * kStepK;
  static constexpr int kStageBytes = (kTileM + kTileN) * kStepK;
  static constexpr int kCtas = 2;
  static constexpr int kRowTilesOfGroup = 4096 / kTileM;  // whose x and w fit the L2 together

  struct Shared {
    std::uint8_t x[kStages][kTileM * kStepK];
    std::uint8_t w[kStages][kTileN * kStepK];
    std::uint64_t full[kStages];
    std::uint64_t empty[kStages];
  };
};

// Tiles in the order in which clusters take them: down the rows of a group, then to the next pair
// of columns, so that the clusters at work share both x and w in L2.
template <int kTileM>
struct TileOrder {
  using C = ManyRows<kTileM>;
  int rows;   // of tiles
  int pairs;  // of tiles, side by side

  __device__ explicit TileOrder(const Fp8GemmParams& p)
      : rows(static_cast<int>((p.m + kTileM - 1) / kTileM)),
        pairs(static_cast<int>((p.n + 2 * C::kTileN - 1) / (2 * C::kTileN))) {}
  __device__ int count() const { return rows * pairs; }
  __device__ int2 row_and_pair(int tile) const {
    const int group = tile / (C::kRowTilesOfGroup * pairs);
    const int first = group * C::kRowTilesOfGroup;
    const int height = min(C::kRowTilesOfGroup, rows - first);
    const int in_group = tile - first * pairs;
    return {first + in_group % height, in_group / height};
  }
};

// Where a warp stands in the ring of stages.
template <int kStages>
struct RingPosition {
  int stage = 0;
  std::uint32_t parity = 0;
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

template <int kTileM>
__device__ void load_tiles(const Fp8GemmArguments& a, typename ManyRows<kTileM>::Shared& shared,
                           int cluster, int clusters, int rank) {
  using C = ManyRows<kTileM>;
  const TileOrder<kTileM> order(a.p);
  RingPosition<C::kStages> at;
  for (int tile = cluster; tile < order.count(); tile += clusters) {
    const int2 where = order.row_and_pair(tile);
    const int first_m = where.x * kTileM + rank * (kTileM / 2);
    const int first_n = (2 * where.y + rank) * C::kTileN;
    for (int step = 0; step < a.steps; ++step) {
      ptx::mbarrier_wait(ptx::shared_address(&shared.empty[at.stage]), at.parity ^ 1);
      const std::uint32_t full = ptx::shared_address(&shared.full[at.stage]);
      ptx::mbarrier_arrive_expect_tx(full, C::kStageBytes);
      ptx::tensor_load_2d_multicast(ptx::shared_address(&shared.x[at.stage][rank * C::kHalfBytes]),
                                    &a.x, full, step * C::kStepK, first_m, 0b11);
      ptx::tensor_load_2d(ptx::shared_address(shared.w[at.stage]), &a.w, full, step * C::kStepK,
                          first_n);
      at.advance();
    }
  }
}

// Scales of x for the rows of a thread in a tile of y, and that of w: of one step, read ahead of
// it.
template <int kParts>
class TileScales {
 public:
  // first_row: of the thread; its others are 8, 64 and 72 below. Rows that are not there take the
  // last one's.
  __device__ TileScales(const Fp8GemmParams& p, std::int64_t first_row, int block)
      : last_step_(static_cast<int>((p.k + kQuantGroup - 1) / kQuantGroup) - 1),
        w_(p.w_scales +
           (std::int64_t{block} * kManyRowsTileN < p.n ? block * p.w_scales_stride : 0)) {
#pragma unroll
    for (int i = 0; i < 2 * kParts; ++i) {
      const std::int64_t row = first_row + 64 * (i / 2) + 8 * (i % 2);
      x_[i] = p.x_scales + min(row, p.m - 1) * p.x_scales_stride;
    }
    read(0);
  }

  // Their products for the step that was read; rows as above. Reads the next step's.
  __device__ void take(int step, float (&scales)[2 * kParts]) {
#pragma unroll
    for (int i = 0; i < 2 * kParts; ++i) scales[i] = of_x_[i] * of_w_;
    read(min(step + 1, last_step_));
  }

 private:
  __device__ void read(int step) {
    of_w_ = __ldg(w_ + step);
#pragma unroll
    for (int i = 0; i < 2 * kParts; ++i) of_x_[i] = __ldg(x_[i] + step);
  }

  int last_step_;
  const float* w_;
  const float* x_[2 * kParts];
  float of_w_;
  float of_x_[2 * kParts];
};

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

// Words q = 0 ... 3 of each of four neighbouring lanes: lane l gets word l of lanes 0 ... 3.
__device__ inline uint4 transposed_by_four(const std::uint32_t (&words)[4], int lane) {
  const bool odd = (lane & 1) != 0;
  const bool high = (lane & 2) != 0;
  const auto other = [](std::uint32_t value, int distance) {
    return __shfl_xor_sync(0xffffffff, value, distance);
  };
  // Pairs of lanes: even words of the one for odd words of the other; then pairs of pairs.
  const std::uint32_t first = other(odd ? words[0] : words[1], 1);
  const std::uint32_t second = other(odd ? words[2] : words[3], 1);
  const std::uint32_t low[2] = {odd ? first : words[0], odd ? words[1] : first};
  const std::uint32_t up[2] = {odd ? second : words[2], odd ? words[3] : second};
  const std::uint32_t third = other(high ? low[0] : up[0], 2);
  const std::uint32_t fourth = other(high ? low[1] : up[1], 2);
  return high ? make_uint4(third, fourth, up[0], up[1]) : make_uint4(low[0], low[1], third, fourth);
}

__device__ inline std::uint32_t packed(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// 128 columns of a warp's eight rows, a row on four lanes; sums[4 * j] is column 8 * j + 2 * (lane
// % 4). Four groups of eight columns at a time, so that a lane stores 16 bytes and a row 64.
__device__ inline void store_rows(__nv_bfloat16* row, const float* sums, bool there, int lane) {
#pragma unroll
  for (int j = 0; j < 16; j += 4) {
    std::uint32_t words[4];
#pragma unroll
    for (int q = 0; q < 4; ++q) words[q] = packed(sums[4 * (j + q)], sums[4 * (j + q) + 1]);
    const uint4 columns = transposed_by_four(words, lane);
    if (there) *reinterpret_cast<uint4*>(row + 8 * (j + lane % 4)) = columns;
  }
}

template <int kTileM>
__device__ void multiply_tiles(const Fp8GemmArguments& a, typename ManyRows<kTileM>::Shared& shared,
                               int cluster, int clusters, int rank) {
  using C = ManyRows<kTileM>;
  const int thread = static_cast<int>(threadIdx.x) % 128;
  const int lane = thread % 32;
  const int warpgroup_row = static_cast<int>(threadIdx.x) / 128 * C::kRowsOfWarpgroup;
  const int thread_row = warpgroup_row + 16 * (thread / 32) + lane / 4;
  const TileOrder<kTileM> order(a.p);
  RingPosition<C::kStages> at;
  for (int tile = cluster; tile < order.count(); tile += clusters) {
    const int2 where = order.row_and_pair(tile);
    const int block = 2 * where.y + rank;  // of 128 columns: that of the scales too
    TileScales<C::kParts> tile_scales(a.p, std::int64_t{where.x} * kTileM + thread_row, block);
    float total[C::kParts][64] = {};
    for (int step = 0; step < a.steps; ++step) {
      float scales[2 * C::kParts];
      tile_scales.take(step, scales);
      ptx::mbarrier_wait(ptx::shared_address(&shared.full[at.stage]), at.parity);
      const std::uint64_t w = ptx::swizzled_128b(ptx::shared_address(shared.w[at.stage]), 16);
#pragma unroll
      for (int part = 0; part < C::kParts; ++part) {
        const std::uint64_t x = ptx::swizzled_128b(
            ptx::shared_address(&shared.x[at.stage][(warpgroup_row + 64 * part) * C::kStepK]), 16);
        float products[64];
        ptx::wgmma_fence();
#pragma unroll
        for (int i = 0; i < C::kStepK / 32; ++i)
          ptx::wgmma_e4m3<C::kTileN>(products, x + 2 * i, w + 2 * i, i != 0);
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        ptx::own_registers(products);
        if (part + 1 == C::kParts) {
          __syncwarp();
          if (lane < C::kCtas) {
            ptx::mbarrier_arrive_cluster_after_reads(ptx::cluster_address(
                ptx::shared_address(&shared.empty[at.stage]), static_cast<std::uint32_t>(lane)));
          }
        }
        const float upper = scales[2 * part];
        const float lower = scales[2 * part + 1];
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          float* const sums = &total[part][4 * j];
          sums[0] = fmaf(upper, products[4 * j], sums[0]);
          sums[1] = fmaf(upper, products[4 * j + 1], sums[1]);
          sums[2] = fmaf(lower, products[4 * j + 2], sums[2]);
          sums[3] = fmaf(lower, products[4 * j + 3], sums[3]);
        }
      }
      at.advance();
    }

    auto* const y = static_cast<__nv_bfloat16*>(a.p.y);
    const bool aligned = reinterpret_cast<std::uintptr_t>(y) % 4 == 0 && a.p.y_stride % 2 == 0;
    const std::int64_t tile_n = std::int64_t{block} * C::kTileN;
    const std::int64_t first_n = tile_n + 2 * (lane % 4);
    const bool whole = reinterpret_cast<std::uintptr_t>(y) % 16 == 0 && a.p.y_stride % 8 == 0 &&
                       tile_n + C::kTileN <= a.p.n;
#pragma unroll
    for (int part = 0; part < C::kParts; ++part) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = std::int64_t{where.x} * kTileM + thread_row + 64 * part + 8 * half;
        if (whole) {
          store_rows(y + row * a.p.y_stride + tile_n, &total[part][2 * half], row < a.p.m, lane);
          continue;
        }
        if (row >= a.p.m) continue;
        __nv_bfloat16* out = y + row * a.p.y_stride + first_n;
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          store_pair(out + 8 * j, total[part][4 * j + 2 * half], total[part][4 * j + 2 * half + 1],
                     aligned, a.p.n - first_n - 8 * j);
        }
      }
    }
  }
}

template <int kTileM>
__global__ void __launch_bounds__(ManyRows<kTileM>::kThreads, 1)
    fp8_gemm_many_rows_kernel(const __grid_constant__ Fp8GemmArguments a) {
  using C = ManyRows<kTileM>;
  extern __shared__ __align__(1024) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<typename C::Shared*>(dynamic_shared);
  const int rank = static_cast<int>(ptx::cluster_rank());
  const int cluster = static_cast<int>(blockIdx.x) / C::kCtas;
  const int clusters = static_cast<int>(gridDim.x) / C::kCtas;

  if (threadIdx.x == 0) {
    for (int i = 0; i < C::kStages; ++i) {
      ptx::mbarrier_init(ptx::shared_address(&shared.full[i]), 1);
      ptx::mbarrier_init(ptx::shared_address(&shared.empty[i]), 4 * C::kMathWarpgroups * C::kCtas);
    }
    ptx::fence_mbarrier_init();
    ptx::prefetch_tensor_map(&a.x);
    ptx::prefetch_tensor_map(&a.w);
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  ptx::cluster_sync();  // the barriers of both CTAs are there

  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp >= 4 * C::kMathWarpgroups) {
    ptx::fewer_registers<C::kLoadRegisters>();
    if (threadIdx.x == 128 * C::kMathWarpgroups)
      load_tiles<kTileM>(a, shared, cluster, clusters, rank);
    __syncwarp();
  } else {
    ptx::more_registers<C::kMathRegisters>();
    multiply_tiles<kTileM>(a, shared, cluster, clusters, rank);
  }
  // The other CTA copies into this one and arrives at its barriers until it is done.
  __syncwarp();
  ptx::cluster_sync();
}

template <int kTileM>
cudaError_t launch_fp8_many_rows(const Fp8GemmArguments& arguments, int sm_count,
                                 cudaStream_t stream) {
  using C = ManyRows<kTileM>;
  constexpr int kBytes = static_cast<int>(sizeof(typename C::Shared));
  return launch_in_clusters(fp8_gemm_many_rows_kernel<kTileM>, arguments,
                            dim3(static_cast<unsigned>(sm_count / C::kCtas * C::kCtas)),
                            C::kThreads, C::kCtas, kBytes, stream);
}

}  // namespace dsaperf::kernels::sm90
