#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>
#include <vector>

struct CUstream_st;

namespace dsaperf::kernels {

// Which two of the rotated values form a pair: (2i, 2i + 1), or (i, i + dim / 2). Either way the
// results stay in the places of their inputs.
enum class RopePairs { kInterleaved, kHalfSplit };

// Rotates x by the angle of each token's position, in place or on the way from `source`. The table
// comes from rope_table(), so every implementation uses the same f32 cosines, also at position
// 1,000,000 where an f32 angle would be off by hundredths. Each product pair is added before the
// one rounding to bf16.
struct RopeParams {
  void* x = nullptr;                        // [tokens, heads, dim] bf16, the rotated part only
  const float* cos_sin = nullptr;           // [table_rows, dim]: dim / 2 cosines, dim / 2 sines
  const std::int32_t* positions = nullptr;  // [tokens]: rows of the table
  std::int64_t tokens = 0;
  std::int64_t table_rows = 0;
  int heads = 0;
  int dim = 0;                    // even; 64 in the known models
  std::int64_t token_stride = 0;  // elements
  std::int64_t head_stride = 0;   // elements; 0 allowed for one head
  RopePairs pairs = RopePairs::kInterleaved;
  const void* source = nullptr;          // [tokens, heads, dim] bf16, apart from x; null: x itself
  std::int64_t source_token_stride = 0;  // elements
  std::int64_t source_head_stride = 0;   // elements; 0 allowed for one head
};

// Positions outside the table are the caller's fault on the device and an error in the reference.
Result<void> rope_check(const RopeParams& params);
Result<void> rope(const RopeParams& params, CUstream_st* stream);
Result<void> rope_reference(const RopeParams& params);

// Frequencies of the pairs. factor 1: theta^(-2i/dim). Otherwise YaRN: low frequencies divided by
// factor, high ones kept, a linear ramp between the pairs that turn beta_slow and beta_fast times
// within original_positions.
struct RopeFrequencies {
  double theta = 10000;
  double factor = 1;
  double original_positions = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
};

// [dim / 2] angles per position, in radians.
std::vector<double> rope_frequencies(const RopeFrequencies& rope, int dim);

// [positions.size(), dim] as RopeParams::cos_sin wants it, computed in double and rounded once.
std::vector<float> rope_table(const std::vector<double>& frequencies,
                              const std::vector<std::int32_t>& positions);

}  // namespace dsaperf::kernels
