#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

enum class WeightLayout {
  kOutIn,  // [n, k]: as checkpoints store a projection
  kInOut,  // [k, n]
};

enum class GemmOutput { kBf16, kF32 };

// y[b][m][n] = sum_k x[b][m][k] * w[b][n][k], f32 sums (the reference: double), rounded once.
// One projection has batch 1; stages 4 and 12 are batches over heads with the heads as an inner
// dimension of x and y:
//   absorb  x = q_nope, w = W_UK[h] [nope, kv_lora] kInOut, y = q_latent
//   v_up    x = o_latent, w = W_UV[h] [v, kv_lora] kOutIn, y = o
struct GemmParams {
  const void* x = nullptr;  // bf16
  const void* w = nullptr;  // bf16
  void* y = nullptr;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  std::int64_t x_stride = 0;  // elements between rows
  std::int64_t w_stride = 0;
  std::int64_t y_stride = 0;
  std::int64_t x_batch_stride = 0;  // elements between members; unused for batch 1
  std::int64_t w_batch_stride = 0;
  std::int64_t y_batch_stride = 0;
  WeightLayout w_layout = WeightLayout::kOutIn;
  GemmOutput output = GemmOutput::kBf16;
};

// The same with e4m3 inputs and f32 scales: x one per row and 128 of k, w one per 128 x 128 block
// of [n, k]; short last groups and blocks are allowed. y is bf16.
struct Fp8GemmParams {
  const std::uint8_t* x = nullptr;  // [m, k] e4m3
  const float* x_scales = nullptr;  // [m, ceil(k / 128)]
  const std::uint8_t* w = nullptr;  // [n, k] e4m3
  const float* w_scales = nullptr;  // [ceil(n / 128), ceil(k / 128)]
  void* y = nullptr;                // [m, n] bf16
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t x_stride = 0;
  std::int64_t x_scales_stride = 0;
  std::int64_t w_stride = 0;
  std::int64_t w_scales_stride = 0;
  std::int64_t y_stride = 0;
};

Result<void> gemm_check(const GemmParams& params);
Result<void> fp8_gemm_check(const Fp8GemmParams& params);

Result<void> gemm_reference(const GemmParams& params);
Result<void> fp8_gemm_reference(const Fp8GemmParams& params);

// bf16 projections on the GPU, through cuBLASLt; GemmLibrary (gemm_gpu.hpp) is an object to keep
// for the same. cuBLASLt's handle and what it chose are kept for each thread and device, since
// making them takes a millisecond; nothing else is. Fails with kInvalidArgument where the workspace
// is less than gemm_workspace says.
Result<std::size_t> gemm_workspace(const GemmParams& params);
Result<void> gemm(const GemmParams& params, void* workspace, std::size_t workspace_size,
                  CUstream_st* stream);

// fp8 projections with block scales, a kernel of our own. x, w, their row strides and k must be
// multiples of 16 bytes (kUnsupported otherwise); every m and n is taken.
Result<void> fp8_gemm(const Fp8GemmParams& params, CUstream_st* stream);

}  // namespace dsaperf::kernels
