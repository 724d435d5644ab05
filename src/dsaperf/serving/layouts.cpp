#include "dsaperf/serving/layouts.hpp"

#include <algorithm>

namespace dsaperf::serving {

std::vector<Layout> layouts(Engine engine, const ModelShape& shape, const LayoutSearch& search) {
  std::vector<Layout> list;
  const bool may_split = search.context_parallel && engine == Engine::kSglang &&
                         (shape.architecture == "GlmMoeDsaForCausalLM" ||
                          shape.attention == ModelShape::Attention::kMla);
  const auto add = [&](const Layout& l) {
    if (l.gpus() > std::min(search.gpus, search.largest)) return;
    if (l.tp * l.dp * l.cp != l.moe_tp * l.moe_ep) return;
    if (engine == Engine::kTrtllm && l.dp > 1 && l.tp > 1) return;
    if (engine == Engine::kVllm && l.moe_tp > 1 && l.moe_ep > 1) return;
    if (l.cp > 1 && (!may_split || l.tp > 1 || l.dp > 1)) return;
    list.push_back(l);
  };
  constexpr int kLargestTp = 16, kLargestCp = 8;
  for (int tp = 1; tp <= kLargestTp; tp *= 2)
    for (int pp = 1; pp <= (search.two_stages ? 2 : 1); pp *= 2)
      for (int dp = 1; dp <= search.largest; dp *= 2)
        for (int moe_tp = 1; moe_tp <= kLargestTp; moe_tp *= 2)
          for (int moe_ep = 1; moe_ep <= search.largest; moe_ep *= 2)
            for (int cp = 1; cp <= kLargestCp; cp *= 2)
              add({.tp = tp, .pp = pp, .dp = dp, .moe_tp = moe_tp, .moe_ep = moe_ep, .cp = cp});
  return list;
}

}  // namespace dsaperf::serving
