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
// the token (causal prompts) are taken longest first, so that the last ones are short, and every
// other round of persistent CTAs goes backwards, so that none has the longest list of each round.
// Parts all run at once.
template <Merge kMerge>
class Work {
 public:
  template <class Params>
  __device__ explicit Work(const Params& params)
      : two_tiles_(params.heads > kHeadTile ? 1 : 0),
        count_(params.tokens << two_tiles_),
        cluster_(ctas_of_item(params)),
        index_(blockIdx.x / cluster_) {
    if constexpr (kMerge == Merge::kNone) {
      if (params.topk_length != nullptr)
        to_mirrored_ = static_cast<int>(gridDim.x) - 1 - 2 * static_cast<int>(blockIdx.x);
    }
  }

  __device__ bool valid() const { return index_ < count_; }
  __device__ void next() {
    if constexpr (kMerge == Merge::kParts) {
      index_ = count_;  // one item a CTA
    } else {
      index_ += static_cast<int>(gridDim.x / cluster_) + to_mirrored_;
      to_mirrored_ = -to_mirrored_;
    }
  }

  __device__ Item item(const SparseMlaParams& params) const {
    Item item;
    item.token = index_ >> two_tiles_;
    item.head0 = static_cast<int>(index_ & two_tiles_) * kHeadTile;
    item.heads = min(params.heads, kHeadTile);
    item.length = params.topk;
    if (params.topk_length != nullptr) {
      if constexpr (kMerge != Merge::kParts) item.token = params.tokens - 1 - item.token;
      item.length = min(max(params.topk_length[item.token], 0), params.topk);
    }
    const int blocks = (item.length + kBlock - 1) / kBlock;
    const int rank = part();
    item.first_block = blocks * rank / static_cast<int>(cluster_);
    item.last_block = blocks * (rank + 1) / static_cast<int>(cluster_);
    return item;
  }

  // Which part of the list this CTA walks.
  __device__ int part() const {
    if constexpr (kMerge == Merge::kCluster) return static_cast<int>(ptx::cluster_rank());
    return kMerge == Merge::kParts ? static_cast<int>(blockIdx.x % cluster_) : 0;
  }

 private:
  template <class Params>
  static __device__ std::uint32_t ctas_of_item(const Params& params) {
    if constexpr (kMerge == Merge::kCluster) return ptx::cluster_size();
    if constexpr (kMerge == Merge::kParts) return static_cast<std::uint32_t>(params.parts);
    return 1;
  }

  int two_tiles_;  // 0 or 1: a token has one item or two
  std::int64_t count_;
  std::uint32_t cluster_;
  std::int64_t index_;
  int to_mirrored_ = 0;  // from this CTA's place in a round to the one counted from its end
};

// Entry `position` of the item's list as it stands, or -1 past its length. What it names is judged
// when it is used (names_row), so that the load has until then to arrive.
__device__ inline std::int32_t listed(const SparseMlaParams& params, const Item& item,
                                      int position) {
  if (position >= item.length) return -1;
  return __ldg(params.indices + item.token * params.indices_stride + position);
}

__device__ inline bool names_row(const SparseMlaParams& params, std::int32_t entry) {
  return entry >= 0 && entry < params.kv.rows;
}

// Which of a block's 64 tokens are there, as two words, the same in all lanes of a warp. Indices
// are read one block ahead of their use.
class BlockMask {
 public:
  __device__ BlockMask(const SparseMlaParams& params, const Item& item, int lane) {
    read(params, item, item.first_block, lane);
  }

  __device__ uint2 take(const SparseMlaParams& params, const Item& item, int block, int lane) {
    const uint2 mask = make_uint2(__ballot_sync(0xffffffff, names_row(params, low_)),
                                  __ballot_sync(0xffffffff, names_row(params, high_)));
    read(params, item, block + 1, lane);
    return mask;
  }

 private:
  __device__ void read(const SparseMlaParams& params, const Item& item, int block, int lane) {
    low_ = listed(params, item, block * kBlock + lane);
    high_ = listed(params, item, block * kBlock + 32 + lane);
  }

  std::int32_t low_, high_;
};

__device__ inline __nv_bfloat16* output_row(const SparseMlaParams& params, const Item& item,
                                            int head) {
  return static_cast<__nv_bfloat16*>(params.out) + item.token * params.out_token_stride +
         (item.head0 + head) * params.out_head_stride;
}

__device__ inline std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// Where the partial result of one part of an item begins, in rows of heads; CTAs have the parts in
// this order.
__device__ inline std::int64_t first_partial_row(const PartsParams& params, const Item& item,
                                                 int part) {
  const int tiles = params.heads > kHeadTile ? params.heads / kHeadTile : 1;
  return ((item.token * tiles + item.head0 / kHeadTile) * params.parts + part) * kHeadTile;
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
