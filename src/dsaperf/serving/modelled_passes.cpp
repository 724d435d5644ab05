#include "dsaperf/serving/modelled_passes.hpp"

#include "dsaperf/serving/capacity.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr std::array kLayouts = {Layout{.tp = 8, .moe_tp = 8}, Layout{.tp = 8, .moe_ep = 8},
                                 Layout{.dp = 8, .moe_ep = 8},
                                 Layout{.tp = 2, .dp = 4, .moe_ep = 8}};
struct PassSize {
  double batch = 1, tokens = 0;
};
constexpr std::array kPrefills = {PassSize{1, 512}, PassSize{1, 2048}, PassSize{1, 8192},
                                  PassSize{4, 2048}};
constexpr std::array kDecodes = {PassSize{1, 4096}, PassSize{4, 4096}, PassSize{16, 4096},
                                 PassSize{64, 4096}, PassSize{16, 32768}};

ModelledPasses summary(ModelledPasses of, std::vector<double> ratios) {
  of.passes = ratios.size();
  if (ratios.empty()) return of;
  std::sort(ratios.begin(), ratios.end());
  of.bias = ratios[ratios.size() / 2] - 1;
  for (double& ratio : ratios) ratio = std::abs(ratio - 1);
  std::sort(ratios.begin(), ratios.end());
  of.median = ratios[ratios.size() / 2];
  of.largest = ratios.back();
  return of;
}

}  // namespace

Result<std::vector<ModelledPasses>> modelled_passes(
    const std::shared_ptr<const perfdb::SystemsTree>& tree, std::string_view system, Engine engine,
    const model::ModelSpec& spec) {
  using predict::compatible::OperatorSet;
  DSAPERF_TRY_ASSIGN(auto tables, OperatorSet::open(tree, system, name(engine), ""));
  DSAPERF_TRY_ASSIGN(auto rest_modelled, OperatorSet::open(tree, system, name(engine), ""));
  DSAPERF_TRY(rest_modelled.model_rest());
  DSAPERF_TRY_ASSIGN(const auto shape, ModelShape::of(spec));
  const FormatChoice choice{.gemm = {}, .kv = default_kv(engine, tables.system().sm_version, spec)};
  std::vector<double> prefills, decodes;
  for (const Layout& layout : kLayouts) {
    const PassModel::Inputs inputs{.shape = shape,
                                   .layout = layout,
                                   .formats = formats_of(spec, choice, false),
                                   .engine = engine,
                                   .quirks = Quirks::none()};
    const auto measured = PassModel::make(inputs, tables);
    const auto modelled = PassModel::make(inputs, rest_modelled);
    if (!measured || !modelled) continue;
    for (const PassSize& size : kPrefills) {
      DSAPERF_TRY_ASSIGN(const auto due, measured->context(size.batch, size.tokens, 0));
      DSAPERF_TRY_ASSIGN(const auto got, modelled->context(size.batch, size.tokens, 0));
      prefills.push_back(got.ms / due.ms);
    }
    for (const PassSize& size : kDecodes) {
      DSAPERF_TRY_ASSIGN(const auto due, measured->generation(size.batch, size.tokens));
      DSAPERF_TRY_ASSIGN(const auto got, modelled->generation(size.batch, size.tokens));
      decodes.push_back(got.ms / due.ms);
    }
  }
  const ModelledPasses of{.model = spec.name, .engine = engine};
  std::vector<ModelledPasses> result = {summary(of, std::move(prefills)),
                                        summary(of, std::move(decodes))};
  result.back().is_prefill = false;
  return result;
}

}  // namespace dsaperf::serving
