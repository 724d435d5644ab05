#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

// Softmax of scores as wgmma leaves them: lane `lane` of warp w has heads 16 w + lane / 4 and 8
// below, of each 8 columns 2 * (lane % 4) and the next.
namespace dsaperf::kernels::sm90::sparse_mla {

// Scores in powers of two. A scale that is not positive goes into the scores themselves, so that
// their order and the -inf of unlisted tokens survive the multiplication.
struct ScoreScale {
  float sign, scale;

  __device__ explicit ScoreScale(float given)
      : sign(given > 0   ? 1.0F
             : given < 0 ? -1.0F
                         : 0.0F),
        scale(sign == 0 ? 1.0F : fabsf(given) * 1.4426950408889634F) {}

  template <int kSize>
  __device__ void apply_sign(float (&scores)[kSize]) const {
    if (sign == 1.0F) return;
#pragma unroll
    for (float& score : scores) score *= sign;
  }
};

// Columns 32 * kWord ... + 31, of which `listed` has a bit each, the same in all lanes.
template <int kWord>
__device__ void mask_scores(float (&s)[32], std::uint32_t listed, int quad) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const std::uint32_t bits = listed >> (8 * j + 2 * quad);
    const int at = 16 * kWord + 4 * j;
    if ((bits & 1) == 0) s[at] = s[at + 2] = -INFINITY;
    if ((bits & 2) == 0) s[at + 1] = s[at + 3] = -INFINITY;
  }
}

// Of the two heads of a thread: the reference maximum, in powers of two, and the sum of what was
// turned into probabilities. The maximum is lazy: it rises when a score exceeds it by 2^8.
struct LazySoftmax {
  float maximum[2] = {kMaximumFloor, kMaximumFloor};
  float sum[2] = {0, 0};

  // Raises the reference of heads that exceed it; by `factor` what was summed before shrinks.
  __device__ void raise(const float (&s)[32], float scale, float (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = -INFINITY;
#pragma unroll
      for (int j = 0; j < 8; ++j)
        largest = fmaxf(largest, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
      largest *= scale;
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
      const float next = largest > maximum[r] + kLazyExponent ? largest : maximum[r];
      factor[r] = ptx::exp2_approximate(maximum[r] - next);
      maximum[r] = next;
      sum[r] *= factor[r];
    }
  }

  // P of 16 scores, columns 16 kPair ... + 15, in pairs of bf16: two groups of 8 columns, each of
  // head 0 and 1. They are added to `sums`.
  template <int kPair>
  __device__ void probabilities(const float (&s)[32], float scale, float (&sums)[2],
                                std::uint32_t (&p)[4]) const {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int at = 8 * kPair + 4 * j + 2 * r;
        const float a = ptx::exp2_approximate(fmaf(s[at], scale, -maximum[r]));
        const float b = ptx::exp2_approximate(fmaf(s[at + 1], scale, -maximum[r]));
        sums[r] += a + b;
        p[2 * j + r] = pack_bf16(a, b);
      }
    }
  }

  __device__ void sum_over_lanes() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
    }
  }

  // What the values are divided by; and lse.
  __device__ void publish(const SparseMlaParams& params, const Item& item,
                          float (&inverse_sum)[kHeadTile]) const {
    std::uint32_t thread = threadIdx.x;
    ptx::compute_from_here(thread);  // once an item; registers are scarce in between
    const std::uint32_t quad = thread % 4;
    if (quad >= 2) return;
    const float total = quad == 0 ? sum[0] : sum[1];
    const float largest = quad == 0 ? maximum[0] : maximum[1];
    const std::uint32_t head = 16 * (thread / 32) + thread % 32 / 4 + 8 * quad;
    inverse_sum[head] = total == 0 ? 0 : 1 / total;
    write_lse(params, item, static_cast<int>(head), largest, total);
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
