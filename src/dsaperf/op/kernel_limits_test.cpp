#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/model/kernel_support.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gtest/gtest.h>

#include <cstdint>

// What `analyze` says of the kernels' limits is what the kernels themselves accept. model may not
// include kernels, so the two are held together here.
namespace dsaperf::op {
namespace {

model::ModelSpec deepseek_v32() {
  return model::load_model("deepseek-ai/DeepSeek-V3.2").value();
}

TEST(KernelLimitsTest, HeadsOfARank) {
  const auto spec = deepseek_v32();
  for (const int tp : {1, 2, 4, 8, 16, 32, 64}) {
    std::uint16_t data = 0;
    std::int32_t index = 0;
    const int heads = 128 / tp;
    const kernels::SparseMlaParams params{
        .q = &data,
        .kv = {.data = &data, .rows = 1, .row_stride_bytes = 1152},
        .indices = &index,
        .out = &data,
        .tokens = 1,
        .heads = heads,
        .topk = 1,
        .q_token_stride = heads * 576,
        .q_head_stride = 576,
        .indices_stride = 1,
        .out_token_stride = heads * 512,
        .out_head_stride = 512,
        .scale = 1};
    EXPECT_EQ(kernel_support(spec, tp).runs, kernels::sparse_mla_check(params).has_value())
        << heads;
  }
}

TEST(KernelLimitsTest, IndexHeadsAndWidth) {
  for (const auto& [heads, dim] : {std::pair{64, 128},
                                   {32, 128},
                                   {16, 128},
                                   {8, 128},
                                   {4, 128},
                                   {128, 128},
                                   {24, 128},
                                   {64, 64}}) {
    auto spec = deepseek_v32();
    for (auto& layer : spec.layers) {
      if (layer.indexer) {
        layer.indexer->heads = heads;
        layer.indexer->dim = dim;
      }
    }
    std::uint8_t bytes = 0;
    float value = 0;
    std::int32_t index = 0;
    const kernels::IndexerScoresParams params{.q = &bytes,
                                              .weights = &value,
                                              .k = &bytes,
                                              .k_scales = &value,
                                              .start = &index,
                                              .end = &index,
                                              .scores = &value,
                                              .tokens = 1,
                                              .keys = 1,
                                              .heads = heads,
                                              .dim = dim,
                                              .scores_stride = 1};
    EXPECT_EQ(kernel_support(spec, 1).runs, kernels::indexer_scores_check(params).has_value())
        << heads << " x " << dim;
  }
}

}  // namespace
}  // namespace dsaperf::op
