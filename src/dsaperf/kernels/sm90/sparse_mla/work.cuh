#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/config.cuh"

#include <cuda_bf16.h>

namespace dsaperf::kernels::sm90::sparse_mla {

// One token and up to 64 of its heads; the blocks of its list that this CTA walks.
struct Item {
  std::int64_t token;
  int head0;
  int heads;
  int length;  // leading entries of the list that count
  int first_block, last_block;
};

// The items of this CTA (of its cluster), in the same order for every role. Lists that grow with
// the token (causal prompts) are taken longest first, so that the last ones are short.
class Work {
 public:
  __device__ explicit Work(const SparseMlaParams& params)
      : tiles_(params.heads > kHeadTile ? params.heads / kHeadTile : 1),
        count_(params.tokens * tiles_),
        cluster_(ptx::cluster_size()),
        index_(blockIdx.x / cluster_) {}

  __device__ bool valid() const { return index_ < count_; }
  __device__ void next() { index_ += gridDim.x / cluster_; }

  __device__ Item item(const SparseMlaParams& params) const {
    Item item;
    item.token = index_ / tiles_;
    item.head0 = static_cast<int>(index_ % tiles_) * kHeadTile;
    item.heads = min(params.heads, kHeadTile);
    item.length = params.topk;
    if (params.topk_length != nullptr) {
      item.token = params.tokens - 1 - item.token;
      item.length = min(max(params.topk_length[item.token], 0), params.topk);
    }
    const int blocks = (item.length + kBlock - 1) / kBlock;
    const int rank = cluster_ > 1 ? static_cast<int>(ptx::cluster_rank()) : 0;
    item.first_block = blocks * rank / static_cast<int>(cluster_);
    item.last_block = blocks * (rank + 1) / static_cast<int>(cluster_);
    return item;
  }

 private:
  std::int64_t tiles_;
  std::int64_t count_;
  std::uint32_t cluster_;
  std::int64_t index_;
};

// Row number of entry `position` of the item's list, or -1: skipped, outside, or past its length.
__device__ inline std::int32_t listed_row(const SparseMlaParams& params, const Item& item,
                                          int position) {
  if (position >= item.length) return -1;
  const std::int32_t row = __ldg(params.indices + item.token * params.indices_stride + position);
  return row >= 0 && row < params.kv.rows ? row : -1;
}

// Which of a block's 64 tokens are listed, as two words, the same in all lanes of a warp. Indices
// are read one block ahead of their use.
class BlockMask {
 public:
  __device__ BlockMask(const SparseMlaParams& params, const Item& item, int lane) {
    read(params, item, item.first_block, lane);
  }

  __device__ uint2 take(const SparseMlaParams& params, const Item& item, int block, int lane) {
    const uint2 listed =
        make_uint2(__ballot_sync(0xffffffff, low_ >= 0), __ballot_sync(0xffffffff, high_ >= 0));
    read(params, item, block + 1, lane);
    return listed;
  }

 private:
  __device__ void read(const SparseMlaParams& params, const Item& item, int block, int lane) {
    low_ = listed_row(params, item, block * kBlock + lane);
    high_ = listed_row(params, item, block * kBlock + 32 + lane);
  }

  std::int32_t low_, high_;
};

__device__ inline __nv_bfloat16* output_row(const SparseMlaParams& params, const Item& item,
                                            int head) {
  return static_cast<__nv_bfloat16*>(params.out) + item.token * params.out_token_stride +
         (item.head0 + head) * params.out_head_stride;
}

// largest in powers of two, total relative to it.
__device__ inline void write_lse(const SparseMlaParams& params, const Item& item, int head,
                                 float largest, float total) {
  if (params.lse == nullptr || head >= item.heads) return;
  float lse = (largest + log2f(total)) * 0.6931471805599453F;
  if (total == 0) lse = -INFINITY;
  if (largest == INFINITY) lse = INFINITY;
  params.lse[item.token * params.lse_stride + item.head0 + head] = lse;
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
