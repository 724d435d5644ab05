#include "dsaperf/collect/gemm_plan.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace dsaperf::collect {
namespace {

using model::WeightFormat;

constexpr std::array<int, 5> kRanks = {1, 2, 4, 8, 16};

struct Weights {
  std::int64_t n = 0, k = 0;
  bool is_bf16 = false;  // whatever the model's format
};

// serving/pass_model.cpp asks for these.
std::vector<Weights> weights_of(const model::ModelSpec& model) {
  std::vector<Weights> result = {{model.moe.routed_experts, model.hidden, true}};
  for (const int ranks : kRanks) {
    result.push_back({model.vocab / ranks, model.hidden, true});
    for (const auto inter : {model.moe.intermediate, model.intermediate}) {
      if (inter < ranks) continue;  // a model without dense layers
      result.push_back({2 * (std::int64_t{inter} / ranks), model.hidden});
      result.push_back({model.hidden, inter / ranks});
    }
  }
  return result;
}

Bytes memory_of(const GemmSizes& sizes, WeightFormat format) {
  const auto x = static_cast<double>(sizes.m * sizes.k);
  const auto y = static_cast<double>(sizes.m * sizes.n);
  const auto w = static_cast<double>(sizes.n * sizes.k);
  const double quantised = format == WeightFormat::kBf16 ? 0 : x;
  return Bytes{
      static_cast<std::int64_t>(2 * (x + y) + w * cost::bytes_per_weight(format) + quantised)};
}

}  // namespace

std::vector<std::int64_t> standard_tokens() {
  return {1,   2,   4,    8,    16,   32,   48,   64,   96,   128,   192,   256,  384,
          512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768};
}

std::vector<std::int64_t> tokens_of(const std::vector<GridPoint>& grid) {
  std::set<std::int64_t> tokens;
  for (const auto& point : grid) tokens.insert(Case{.requests = point.requests}.new_tokens());
  return {tokens.begin(), tokens.end()};
}

cost::StageCost gemm_cost(const GemmSizes& sizes, WeightFormat format) {
  const auto m = static_cast<double>(sizes.m);
  const auto n = static_cast<double>(sizes.n);
  const auto k = static_cast<double>(sizes.k);
  cost::StageCost cost;
  cost.flops[static_cast<std::size_t>(cost::math_format(format))] = 2 * m * n * k;
  cost.traffic.weights = n * k * cost::bytes_per_weight(format);
  cost.traffic.activations = m * k * (format == WeightFormat::kBf16 ? 2 : 1) + 2 * m * n;
  cost.launches = format == WeightFormat::kBf16 ? 1 : 2;
  return cost;
}

Result<Plan> make_gemm_plan(const model::ModelSpec& model, const GemmAxes& axes,
                            const cost::SystemSpec& system) {
  if (model.moe.routed_experts == 0 || model.moe.shared_experts == 0) {
    return fail(Errc::kUnsupported, "{}: has no {} experts: its products are not known", model.name,
                model.moe.routed_experts == 0 ? "routed" : "shared");
  }
  const double usable = kUsableShare * static_cast<double>(system.hbm_capacity.value);
  Plan plan;
  std::set<std::string> ids;
  const auto add = [&](Case candidate) {
    if (!ids.insert(candidate.id()).second) return;
    const auto memory = memory_of(*candidate.product, candidate.gemm);
    if (static_cast<double>(memory.value) > usable) {
      plan.left_out.push_back({std::move(candidate), too_large(memory, system)});
      return;
    }
    plan.peak_memory = std::max(plan.peak_memory, memory);
    plan.cases.push_back(std::move(candidate));
  };
  for (const auto& weights : weights_of(model)) {
    const auto formats =
        weights.is_bf16 ? std::vector<WeightFormat>{WeightFormat::kBf16} : axes.formats;
    for (const auto format : formats) {
      for (const auto tokens : axes.tokens) {
        for (const auto launch : axes.launches) {
          add({.gemm = format,
               .launch = launch,
               .product = GemmSizes{.m = tokens, .n = weights.n, .k = weights.k}});
        }
      }
    }
  }
  return plan;
}

}  // namespace dsaperf::collect
