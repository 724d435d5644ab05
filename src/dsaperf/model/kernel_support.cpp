#include "dsaperf/model/kernel_support.hpp"

#include <fmt/format.h>

namespace dsaperf::model {
namespace {

// The limits that kernels/sparse_mla.hpp, indexer_scores.hpp and topk.hpp state. This module may
// not include them; op/kernel_limits_test.cpp holds both together.
constexpr int kLatent = 512;
constexpr int kRope = 64;
constexpr int kIndexDim = 128;

bool is_power_of_two_within(int value, int low, int high) {
  return value >= low && value <= high && (value & (value - 1)) == 0;
}

}  // namespace

KernelSupport kernel_support(const ModelSpec& spec, int tp) {
  KernelSupport support;
  auto& reasons = support.reasons;
  const auto& layer = typical_layer(spec);
  const auto& g = layer.geometry;
  if (layer.attention != AttentionKind::kDsa) {
    reasons.push_back(
        is_sparse(layer.attention)
            ? fmt::format("the kernels compute token top-k over a latent cache (DSA); "
                          "this model's method is {}",
                          name(layer.attention))
            : std::string("nothing in this model selects what it attends to; the "
                          "kernels are those of sparse attention"));
    return support;
  }
  if (g.kv_lora != kLatent || g.rope != kRope) {
    reasons.push_back(
        fmt::format("a cache row is latent {} and rope {}; the kernels read {} and {}", g.kv_lora,
                    g.rope, kLatent, kRope));
  }
  const int heads = tp > 0 ? g.heads / tp : g.heads;
  if (!is_power_of_two_within(heads, 8, 128)) {
    reasons.push_back(
        fmt::format("{} heads a rank at tp {}; the kernels take 8, 16, 32, 64 or 128", heads, tp));
  }
  const auto& indexer = *layer.indexer;
  if (indexer.dim != kIndexDim) {
    reasons.push_back(
        fmt::format("index keys are {} wide; the kernels read {}", indexer.dim, kIndexDim));
  }
  if (!is_power_of_two_within(indexer.heads, 8, 64)) {
    reasons.push_back(
        fmt::format("{} index heads; the kernels take 8, 16, 32 or 64", indexer.heads));
  }
  if (indexer.topk < 64 || indexer.topk > 4096) {
    reasons.push_back(fmt::format("index_topk {}; the kernels take 64 to 4096", indexer.topk));
  }
  support.runs = reasons.empty();
  return support;
}

const std::vector<std::string>& works_everywhere() {
  static const std::vector<std::string> kAll = {
      "predictions (query, estimate, sweep) for every system with tables, Blackwell included",
      "readers and alignment of traces, tables and their checks",
      "the CPU layer (run --device cpu) as a reference"};
  return kAll;
}

}  // namespace dsaperf::model
