#pragma once

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/rope.hpp"

#include <cstdint>

namespace dsaperf::op {

// Number format of the projections: bf16, or e4m3 with 128 x 128 block scales (activations then get
// one scale per 128). W_w is always bf16; W_UK and W_UV multiply in bf16 whatever they are stored
// as, as serving frameworks do.
enum class Projections { kBf16, kFp8Block };

// Groups of values (or of rows) that share a scale of e4m3, the last of which may be short.
constexpr std::int64_t scale_groups(std::int64_t size) {
  return ceil_div(size, kernels::kQuantGroup);
}

// What one rank computes of one DSA attention layer: the sizes, and the constants of its stages.
// Latent and rope are fixed to 512 and 64, the index dimension to 128, as the caches are.
struct LayerSpec {
  int layer = 0;  // index in the model, for names of tensors
  int hidden = 0;
  int heads = 0;  // of this rank
  int q_lora = 0;
  int nope = 0;
  int v = 0;
  bool has_indexer = true;  // false: the selection of the layer before it is handed in
  int index_heads = 0;
  int topk = 0;
  kernels::RopePairs index_rope = kernels::RopePairs::kHalfSplit;
  kernels::RopeFrequencies rope;
  float softmax_scale = 0;
  float norm_eps = 1e-6F;
  Projections projections = Projections::kBf16;

  int query_dim() const { return nope + kernels::kRopeDim; }

  // Columns of the tensor qkv_a, what one projection makes of x: W_qa x, then W_ik x where there is
  // an indexer, then W_kva x. Each begins where a block of fp8 scales does; a gap is zero.
  struct QkvAColumns {
    int index_key = 0;
    int kv = 0;
    int all = 0;
  };
  QkvAColumns qkv_a_columns() const {
    const auto index_key = static_cast<int>(scale_groups(q_lora) * kernels::kQuantGroup);
    const int kv = index_key + (has_indexer ? kernels::kIndexDim : 0);
    return {.index_key = index_key, .kv = kv, .all = kv + kernels::kKeyDim};
  }
};

}  // namespace dsaperf::op
