#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/formats.hpp"

#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Activations of an fp8 GEMM: e4m3 with one f32 scale per 128 values of a row; a last group may be
// shorter. NaN stays NaN and does not spoil its group's scale; infinity saturates.
struct QuantiseGroupsParams {
  const void* x = nullptr;         // [rows, dim] bf16
  std::uint8_t* values = nullptr;  // [rows, dim] e4m3
  float* scales = nullptr;         // [rows, ceil(dim / 128)]
  std::int64_t rows = 0;
  int dim = 0;
  std::int64_t x_stride = 0;       // elements
  std::int64_t values_stride = 0;  // elements
  std::int64_t scales_stride = 0;  // elements
  ScaleFormat scale_format = ScaleFormat::kUe8m0;
};

// Index queries and keys (stage 7): each row of 128 is multiplied by the Hadamard matrix times
// 128^-0.5, then becomes e4m3 with one scale; no rounding between the two. A row is a (token, head)
// of q_i or a token of k_i. For queries the head weights absorb the scale on the way:
// weights_out[row] = weights[row] * scale * weight_factor, with weight_factor = heads^-0.5 *
// dim^-0.5; null weights for keys.
struct IndexerQuantiseParams {
  const void* x = nullptr;         // [rows, 128] bf16
  std::uint8_t* values = nullptr;  // [rows, 128] e4m3, packed
  float* scales = nullptr;         // [rows]; null = not wanted
  const float* weights = nullptr;  // [rows]
  float* weights_out = nullptr;    // [rows]; may be weights itself
  std::int64_t rows = 0;
  std::int64_t x_stride = 0;  // elements
  float weight_factor = 1;
  ScaleFormat scale_format = ScaleFormat::kUe8m0;
};

Result<void> quantise_groups_check(const QuantiseGroupsParams& params);
Result<void> indexer_quantise_check(const IndexerQuantiseParams& params);

Result<void> quantise_groups(const QuantiseGroupsParams& params, CUstream_st* stream);
Result<void> indexer_quantise(const IndexerQuantiseParams& params, CUstream_st* stream);
// Both in one launch.
Result<void> indexer_quantise_both(const IndexerQuantiseParams& queries,
                                   const IndexerQuantiseParams& keys, CUstream_st* stream);

Result<void> quantise_groups_reference(const QuantiseGroupsParams& params);
Result<void> indexer_quantise_reference(const IndexerQuantiseParams& params);

// One group to e4m3, rounding to nearest even; returns its scale. The reference of every fp8 row.
float quantise_group(const double* x, int size, ScaleFormat format, std::uint8_t* values);

// In place, times 128^-0.5: row i of the matrix has sign (-1)^popcount(i & j) (Sylvester's order).
void hadamard_128(double* x);

}  // namespace dsaperf::kernels
