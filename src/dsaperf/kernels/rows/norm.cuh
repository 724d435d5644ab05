#pragma once

#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/rows/begin.cuh"
#include "dsaperf/kernels/rows/pieces.cuh"

#include <type_traits>

// RMSNorm and LayerNorm. A team of 1, 2, 4 or 8 warps a row, by its length alone, so that the order
// of sums does not depend on how many rows there are; a thread holds its eight values (four times
// eight beyond 2048) from the one read to the write, and what it needs of the weights is on its way
// before the sum is there.
//
//   bound by  4 bytes a value, read and written; weights come from L2
//   smem      a float a warp and row
//   limits    rows whose start or length is no multiple of 16 bytes, and those of more than 8192,
//             take a warp a row that reads it value by value, again and again
namespace dsaperf::kernels::rows {

inline constexpr int kNormThreads = 256;
inline constexpr int kNormWarps = kNormThreads / 32;
inline constexpr int kLongestNormRow = kNormThreads * 4 * kPiece;  // 8192

template <typename Params>
inline constexpr bool kCentred = std::is_same_v<Params, LayerNormParams>;

__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffff, value, lane);
  return value;
}

// Sums over the kTeam warps of a row, of kTimes rows at once. All threads of the CTA.
template <int kTeam, int kTimes>
__device__ inline void team_sums(float (&sums)[kTimes]) {
#pragma unroll
  for (float& sum : sums) sum = warp_sum(sum);
  if constexpr (kTeam > 1) {
    static __shared__ float parts[kNormWarps][kTimes];
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
#pragma unroll
      for (int t = 0; t < kTimes; ++t) parts[warp][t] = sums[t];
    }
    __syncthreads();
    const int first = warp / kTeam * kTeam;
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      sums[t] = 0;
#pragma unroll
      for (int w = 0; w < kTeam; ++w) sums[t] += parts[first + w][t];
    }
    __syncthreads();  // before the next sums are written
  }
}

struct NothingAfter {
  __device__ void operator()(std::int64_t, bool, int, const Words&) const {}
};

// Rows of whole pieces, by `blocks` CTAs. after(row, is_row, column, words) gets what was written
// of a row from a column on; all lanes call it, those beyond the last row with is_row false.
template <int kTeam, int kPieces, int kTimes, typename Params, typename After>
__device__ inline void norm_rows(const Params& params, std::int64_t block, std::int64_t blocks,
                                 const After& after) {
  constexpr int kTeamThreads = 32 * kTeam;
  constexpr int kRows = kNormWarps / kTeam;
  const int column = static_cast<int>(threadIdx.x) % kTeamThreads * kPiece;
  const float count = static_cast<float>(params.dim);
  const std::int64_t step = blocks * kRows;
  for (std::int64_t begin = block * kRows; begin < params.rows; begin += kTimes * step) {
    const std::int64_t first_row = begin + threadIdx.x / kTeamThreads;
    Words x[kTimes][kPieces];
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const std::int64_t row = first_row + t * step;
      const int end = row < params.rows ? params.dim : 0;
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        x[t][p] = load_piece<true>(bf16_row(params.x, row * params.x_stride),
                                   column + p * kTeamThreads * kPiece, end);
      }
    }
    float weight[kPieces][kPiece] = {};
    float bias[kPieces][kPiece] = {};
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      const int at = column + p * kTeamThreads * kPiece;
      if (at >= params.dim) continue;
      load_floats(params.weight + at, weight[p]);
      if constexpr (kCentred<Params>) load_floats(params.bias + at, bias[p]);
    }
    float mean[kTimes] = {};
    if constexpr (kCentred<Params>) {
#pragma unroll
      for (int t = 0; t < kTimes; ++t) {
#pragma unroll
        for (int p = 0; p < kPieces; ++p) {
          float values[kPiece];
          unpack(x[t][p], values);
#pragma unroll
          for (const float value : values) mean[t] += value;
        }
      }
      team_sums<kTeam>(mean);
#pragma unroll
      for (float& each : mean) each /= count;
    }
    // Deviations from the mean, not the difference of two large sums.
    float squares[kTimes] = {};
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        if (column + p * kTeamThreads * kPiece >= params.dim) continue;
        float values[kPiece];
        unpack(x[t][p], values);
#pragma unroll
        for (const float value : values) {
          const float deviation = value - mean[t];
          squares[t] = fmaf(deviation, deviation, squares[t]);
        }
      }
    }
    team_sums<kTeam>(squares);
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const float factor = rsqrtf(squares[t] / count + params.eps);
      const std::int64_t row = first_row + t * step;
      const bool is_row = row < params.rows;
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        const int at = column + p * kTeamThreads * kPiece;
        float values[kPiece];
        unpack(x[t][p], values);
#pragma unroll
        for (int i = 0; i < kPiece; ++i) {
          values[i] = (values[i] - mean[t]) * factor;
          if constexpr (kCentred<Params>) {
            values[i] = fmaf(values[i], weight[p][i], bias[p][i]);
          } else {
            values[i] *= weight[p][i];
          }
        }
        const Words words = pack(values);
        store_piece<true>(bf16_row(params.out, row * params.out_stride), at,
                          is_row ? params.dim : 0, words);
        after(row, is_row, at, words);
      }
    }
  }
}

template <int kTeam, int kPieces, int kTimes, typename Params>
__global__ void __launch_bounds__(kNormThreads) norm_kernel(const Params params) {
  begin_beside_previous_grid();
  norm_rows<kTeam, kPieces, kTimes>(params, blockIdx.x, gridDim.x, NothingAfter{});
}

// Any row.
template <typename Params>
__global__ void __launch_bounds__(kNormThreads) norm_by_value_kernel(const Params params) {
  begin_beside_previous_grid();
  const int lane = threadIdx.x % 32;
  const float count = static_cast<float>(params.dim);
  for (std::int64_t row = std::int64_t{blockIdx.x} * kNormWarps + threadIdx.x / 32;
       row < params.rows; row += std::int64_t{gridDim.x} * kNormWarps) {
    const auto* x = bf16_row(params.x, row * params.x_stride);
    auto* out = bf16_row(params.out, row * params.out_stride);
    float mean = 0;
    if constexpr (kCentred<Params>) {
      for (int i = lane; i < params.dim; i += 32) mean += low(x[i]);
      mean = warp_sum(mean) / count;
    }
    float squares = 0;
    for (int i = lane; i < params.dim; i += 32) {
      const float deviation = low(x[i]) - mean;
      squares = fmaf(deviation, deviation, squares);
    }
    const float factor = rsqrtf(warp_sum(squares) / count + params.eps);
    for (int i = lane; i < params.dim; i += 32) {
      float value = (low(x[i]) - mean) * factor * params.weight[i];
      if constexpr (kCentred<Params>) value += params.bias[i];
      out[i] = static_cast<std::uint16_t>(pack(value, 0));
    }
  }
}

}  // namespace dsaperf::kernels::rows
