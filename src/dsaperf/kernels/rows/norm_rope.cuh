#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/rows/begin.cuh"
#include "dsaperf/kernels/rows/fp8_group.cuh"
#include "dsaperf/kernels/rows/norm.cuh"
#include "dsaperf/kernels/rows/quantise.cuh"
#include "dsaperf/kernels/rows/rope.cuh"

// The parts of norm_rope.hpp side by side: the first CTAs take one part, the next another.
//
//   bound by  the latency of one row where there are few; else 4 bytes a value, read and written,
//             and one more for each that is quantised
//   limits    rows of whole pieces; queries of 1025 to 2048 values, latents of 257 to 512, index
//             keys of up to 256: the teams that norm.cu takes for these lengths
namespace dsaperf::kernels::rows {

static_assert(kNormThreads == kRopeThreads, "parts share a launch");

inline constexpr int kQueryTeam = 8;
inline constexpr int kLatentTeam = 2;
inline constexpr int kIndexKeyTeam = 1;

// CTAs of each part, in order.
struct PartBlocks {
  unsigned first = 0;
  unsigned second = 0;
};

// Groups of 128 of the norm's rows, out of registers; a group is 16 neighbouring lanes.
struct QuantiseAfter {
  const QuantiseGroupsParams& params;

  __device__ void operator()(std::int64_t row, bool is_row, int column, const Words& words) const {
    if (params.values == nullptr) return;
    float values[kPiece];
    unpack(words, values);
    const float scale = group_scale(group_absmax<kGroupLanes>(values), params.scale_format);
    if (!is_row || column >= params.dim) return;
    std::uint32_t codes[kPiece / 4];
    group_codes(values, scale, params.scale_format, codes);
    store_codes<true>(params.values + row * params.values_stride, column, params.dim, codes[0],
                      codes[1]);
    if (column % kQuantGroup == 0) {
      params.scales[row * params.scales_stride + column / kQuantGroup] = scale;
    }
  }
};

template <int kTimes>
__global__ void __launch_bounds__(kNormThreads)
    norm_rope_kernel(const NormRopeParams params, const PartBlocks blocks) {
  begin_beside_previous_grid();
  const unsigned both = blocks.first + blocks.second;
  if (blockIdx.x < blocks.first) {
    norm_rows<kQueryTeam, 1, kTimes>(params.query, blockIdx.x, blocks.first,
                                     QuantiseAfter{params.quantised});
  } else if (blockIdx.x < both) {
    norm_rows<kLatentTeam, 1, 1>(params.latent, blockIdx.x - blocks.first, blocks.second,
                                 NothingAfter{});
  } else {
    rope_rows<true>(params.key, blockIdx.x - both, gridDim.x - both);
  }
}

// The first values of a row that the same warp has just written.
struct RopeAfter {
  const RopeParams& params;

  __device__ void operator()(std::int64_t row, bool is_row, int, const Words&) const {
    __syncwarp();
    const int unit = threadIdx.x % 32;
    if (is_row && unit < rope_units<true>(params)) rope_unit<true>(params, row, unit);
  }
};

// A template, as all kernels of headers are, so that several files may include it.
template <int kTimes>
__global__ void __launch_bounds__(kNormThreads)
    indexer_norm_rope_kernel(const IndexerNormRopeParams params, const unsigned query_blocks) {
  begin_beside_previous_grid();
  if (blockIdx.x < query_blocks) {
    rope_rows<true>(params.query, blockIdx.x, query_blocks);
  } else {
    norm_rows<kIndexKeyTeam, 1, kTimes>(params.key_norm, blockIdx.x - query_blocks,
                                        gridDim.x - query_blocks, RopeAfter{params.key});
  }
}

// The rest of an index key's way into its page, by the warp that has its row.
struct IndexKeyAfter {
  const IndexKeyWriteParams& params;

  __device__ void operator()(std::int64_t row, bool is_row, int column, const Words& words) const {
    RopeAfter{params.rope}(row, is_row, column, words);
    __syncwarp();
    const auto& quantised = params.quantised;
    const int lane = threadIdx.x % kIndexLanes;  // the warp's teams do the same, the first stores
    const auto* key = bf16_row(quantised.x, row * quantised.x_stride);
    const int end = is_row ? kIndexDim : 0;
    const IndexCodes made = index_codes(load_piece<true>(key, lane * kPiece, end),
                                        load_piece<true>(key, kIndexDim / 2 + lane * kPiece, end),
                                        lane, quantised.scale_format);
    if (!is_row || threadIdx.x % 32 >= kIndexLanes) return;
    store_index_codes<true>(quantised.values + row * kIndexDim, lane, made);
    if (lane == 0) quantised.scales[row] = made.scale;
    const std::int64_t slot = params.write.slots[row];
    if (slot < 0 || slot / kPageTokens >= params.write.page_count) return;
    auto* page = params.write.pages + slot / kPageTokens * params.write.page_stride_bytes;
    store_index_codes<true>(page + slot % kPageTokens * kIndexDim, lane, made);
    if (lane == 0)
      reinterpret_cast<float*>(page + kIndexPageScaleOffset)[slot % kPageTokens] = made.scale;
  }
};

template <int kTimes>
__global__ void __launch_bounds__(kNormThreads)
    index_key_norm_cache_write_kernel(const IndexKeyWriteParams params) {
  begin_beside_previous_grid();
  norm_rows<kIndexKeyTeam, 1, kTimes>(params.norm, blockIdx.x, gridDim.x, IndexKeyAfter{params});
}

}  // namespace dsaperf::kernels::rows
