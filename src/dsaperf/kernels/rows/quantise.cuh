#pragma once

#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rows/begin.cuh"
#include "dsaperf/kernels/rows/fp8_group.cuh"
#include "dsaperf/kernels/rows/pieces.cuh"

// Groups of 128 values to e4m3. Activations: 16 lanes a group, eight values each. Index queries and
// keys pass the Hadamard transform on the way: 8 lanes a row, values 8 lane ... 8 lane + 7 and the
// same 64 further on, so that four of the seven steps are within a lane and three are shuffles.
//
//   bound by  2 bytes a value read, 1 written
//   limits    rows whose start or length is no multiple of 16 bytes are read value by value
namespace dsaperf::kernels::rows {

inline constexpr int kQuantiseThreads = 256;
inline constexpr int kIndexCtas = 4;                      // of an SM: 64 KiB of loads on their way
inline constexpr int kGroupLanes = kQuantGroup / kPiece;  // 16
inline constexpr int kGroupsAtOnce = kQuantiseThreads / kGroupLanes;     // of a CTA
inline constexpr int kIndexLanes = kIndexDim / (2 * kPiece);             // 8
inline constexpr int kIndexRowsAtOnce = kQuantiseThreads / kIndexLanes;  // of a CTA

// kTimes groups a team of lanes, all loaded before the first is worked on.
template <bool kWhole, int kTimes>
__global__ void __launch_bounds__(kQuantiseThreads)
    quantise_groups_kernel(const QuantiseGroupsParams params) {
  begin_beside_previous_grid();
  const int lane = threadIdx.x % kGroupLanes;
  const int groups = (params.dim + kQuantGroup - 1) / kQuantGroup;
  const std::int64_t count = params.rows * groups;
  const std::int64_t step = std::int64_t{gridDim.x} * kGroupsAtOnce;
  // All lanes of a warp take part in the shuffles, those of groups beyond the last too.
  for (std::int64_t begin = std::int64_t{blockIdx.x} * kGroupsAtOnce; begin < count;
       begin += kTimes * step) {
    std::int64_t rows[kTimes];
    int columns[kTimes];
    Words loaded[kTimes];
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const std::int64_t group = begin + t * step + threadIdx.x / kGroupLanes;
      rows[t] = group / groups;
      columns[t] = static_cast<int>(group - rows[t] * groups) * kQuantGroup + lane * kPiece;
      if (group >= count) columns[t] = params.dim;  // nothing to load or to store
      loaded[t] =
          load_piece<kWhole>(bf16_row(params.x, rows[t] * params.x_stride), columns[t], params.dim);
    }
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      float values[kPiece];
      unpack(loaded[t], values);
      const float scale = group_scale(group_absmax<kGroupLanes>(values), params.scale_format);
      std::uint32_t codes[kPiece / 4];
      group_codes(values, scale, params.scale_format, codes);
      store_codes<kWhole>(params.values + rows[t] * params.values_stride, columns[t], params.dim,
                          codes[0], codes[1]);
      if (lane == 0 && columns[t] < params.dim) {
        params.scales[rows[t] * params.scales_stride + columns[t] / kQuantGroup] = scale;
      }
    }
  }
}

// The lane's part of the Hadamard matrix applied to 128 values: v[i] is value
// i / 8 * 64 + lane * 8 + i % 8.
__device__ inline void hadamard(float (&v)[2 * kPiece], int lane) {
#pragma unroll
  for (int width = 1; width < 2 * kPiece; width *= 2) {
#pragma unroll
    for (int i = 0; i < 2 * kPiece; ++i) {
      if ((i & width) != 0) continue;
      const float a = v[i];
      const float b = v[i + width];
      v[i] = a + b;
      v[i + width] = a - b;
    }
  }
#pragma unroll
  for (int distance = 1; distance < kIndexLanes; distance *= 2) {
    const float sign = (lane & distance) != 0 ? -1.0F : 1.0F;
#pragma unroll
    for (float& value : v) {
      value = fmaf(sign, value, __shfl_xor_sync(0xffffffff, value, distance));
    }
  }
#pragma unroll
  for (float& value : v) value *= 0.08838834764831845F;  // 128^-0.5
}

// A row of 128 on eight lanes, transformed and quantised: the lane's codes of values 8 lane and on,
// and of those 64 further on.
struct IndexCodes {
  std::uint32_t codes[kPiece / 2];
  float scale;
};

__device__ inline IndexCodes index_codes(const Words& low_half, const Words& high_half, int lane,
                                         ScaleFormat format) {
  float values[2 * kPiece];
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    const std::uint32_t first = low_half.word[i / 2];
    const std::uint32_t second = high_half.word[i / 2];
    values[i] = i % 2 == 0 ? low(first) : high(first);
    values[kPiece + i] = i % 2 == 0 ? low(second) : high(second);
  }
  hadamard(values, lane);
  IndexCodes made;
  made.scale = group_scale(group_absmax<kIndexLanes>(values), format);
  group_codes(values, made.scale, format, made.codes);
  return made;
}

template <bool kWhole>
__device__ inline void store_index_codes(std::uint8_t* row, int lane, const IndexCodes& made) {
  store_codes<kWhole>(row, lane * kPiece, kIndexDim, made.codes[0], made.codes[1]);
  store_codes<kWhole>(row, kIndexDim / 2 + lane * kPiece, kIndexDim, made.codes[2], made.codes[3]);
}

template <bool kWhole, int kTimes>
__device__ inline void indexer_quantise_rows(const IndexerQuantiseParams& params,
                                             std::int64_t block, std::int64_t blocks) {
  static_assert(kIndexDim == kQuantGroup);
  const int lane = threadIdx.x % kIndexLanes;
  const std::int64_t step = blocks * kIndexRowsAtOnce;
  for (std::int64_t begin = block * kIndexRowsAtOnce; begin < params.rows; begin += kTimes * step) {
    const std::int64_t first_row = begin + threadIdx.x / kIndexLanes;
    Words loaded[kTimes][2];
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const std::int64_t row = first_row + t * step;
      const int end = row < params.rows ? kIndexDim : 0;
      const auto* x = bf16_row(params.x, row * params.x_stride);
      loaded[t][0] = load_piece<kWhole>(x, lane * kPiece, end);
      loaded[t][1] = load_piece<kWhole>(x, kIndexDim / 2 + lane * kPiece, end);
    }
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
      const IndexCodes made = index_codes(loaded[t][0], loaded[t][1], lane, params.scale_format);
      const std::int64_t row = first_row + t * step;
      if (row >= params.rows) continue;
      store_index_codes<kWhole>(params.values + row * kIndexDim, lane, made);
      if (lane != 0) continue;
      if (params.scales != nullptr) params.scales[row] = made.scale;
      if (params.weights != nullptr) {
        params.weights_out[row] = static_cast<float>(static_cast<double>(params.weights[row]) *
                                                     made.scale * params.weight_factor);
      }
    }
  }
}

// Two sets of rows in one launch: the first `first_blocks` CTAs take the one, the others the other.
template <bool kWhole, int kTimes>
__global__ void __launch_bounds__(kQuantiseThreads, kIndexCtas)
    indexer_quantise_kernel(const IndexerQuantiseParams first, const IndexerQuantiseParams second,
                            const unsigned first_blocks) {
  begin_beside_previous_grid();
  if (blockIdx.x < first_blocks) {
    indexer_quantise_rows<kWhole, kTimes>(first, blockIdx.x, first_blocks);
  } else {
    indexer_quantise_rows<kWhole, kTimes>(second, blockIdx.x - first_blocks,
                                          gridDim.x - first_blocks);
  }
}

}  // namespace dsaperf::kernels::rows
