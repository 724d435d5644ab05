#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Row norms over bf16 rows, statistics in f32 (the reference: double), rounded once to bf16.
// RMSNorm: x / sqrt(mean(x^2) + eps) * weight. LayerNorm: (x - mean) / sqrt(variance + eps) *
// weight + bias, with the population variance. out may be x itself.
struct RmsNormParams {
  const void* x = nullptr;        // [rows, dim] bf16
  const float* weight = nullptr;  // [dim]
  void* out = nullptr;            // [rows, dim] bf16
  std::int64_t rows = 0;
  int dim = 0;
  std::int64_t x_stride = 0;    // elements between rows; >= dim
  std::int64_t out_stride = 0;  // elements between rows; >= dim
  float eps = 0;
};

struct LayerNormParams {
  const void* x = nullptr;        // [rows, dim] bf16
  const float* weight = nullptr;  // [dim]
  const float* bias = nullptr;    // [dim]
  void* out = nullptr;            // [rows, dim] bf16
  std::int64_t rows = 0;
  int dim = 0;
  std::int64_t x_stride = 0;
  std::int64_t out_stride = 0;
  float eps = 0;
};

Result<void> rms_norm_check(const RmsNormParams& params);
Result<void> layer_norm_check(const LayerNormParams& params);

Result<void> rms_norm(const RmsNormParams& params, CUstream_st* stream);
Result<void> layer_norm(const LayerNormParams& params, CUstream_st* stream);

Result<void> rms_norm_reference(const RmsNormParams& params);
Result<void> layer_norm_reference(const LayerNormParams& params);

}  // namespace dsaperf::kernels
