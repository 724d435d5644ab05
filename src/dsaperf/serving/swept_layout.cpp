#include "dsaperf/serving/swept_layout.hpp"

#include "dsaperf/serving/layouts.hpp"

#include <algorithm>
#include <utility>

namespace dsaperf::serving {
namespace {

Formats formats(const SweepTask& task, const SweptEngine& engine) {
  FormatChoice choice = task.in.formats;
  const auto& shape = task.shape;
  if (choice.kv.empty() && !task.compatible() && shape.attention == ModelShape::Attention::kDsa)
    choice.kv = default_kv(engine.engine, engine.set.system().sm_version, task.spec);
  return formats_of(task.spec, choice,
                    task.compatible() && task.in.quirks.has(Quirk::kGlmFp8AttentionAsBf16));
}

// Where DeepEP's exchanges were measured for a layout, aiconfigurator's sweep takes them.
Result<PassModel> passes(const SweepTask& task, SweptEngine& engine, const Layout& layout,
                         DeepEp exchanges) {
  DSAPERF_TRY(check_layout(task.spec, layout));
  PassModel::Inputs inputs{.shape = task.shape,
                           .layout = layout,
                           .formats = formats(task, engine),
                           .engine = engine.engine,
                           .quirks = task.compatible() ? task.in.quirks : Quirks::none(),
                           .deepep = task.compatible() ? DeepEp::kNone : DeepEp::kNever};
  if (task.compatible() && PassModel::may_exchange(inputs)) {
    inputs.deepep = exchanges;
    if (auto model = PassModel::make(inputs, engine.set)) return model;
    inputs.deepep = DeepEp::kNone;
  }
  return PassModel::make(inputs, engine.set);
}

bool exchanges_over(const SweepTask& task, SweptEngine& engine, int ranks, DeepEp exchanges) {
  const auto model = passes(task, engine, {.dp = ranks, .moe_ep = ranks}, exchanges);
  return model && model->inputs().exchanges();
}

void widen_workers(const SweepTask& task, SweptEngine& engine) {
  const int two_nodes = 2 * engine.set.system().gpus_per_node;
  const auto widen = [&](int& gpus, int most, DeepEp exchanges) {
    if (!exchanges_over(task, engine, two_nodes, exchanges)) return;
    engine.between_nodes = true;
    if (engine.engine != Engine::kVllm) {
      gpus = most;
      return;
    }
    // vLLM's list ends where its rows of experts do.
    for (int ranks = two_nodes;
         ranks <= task.in.gpus && exchanges_over(task, engine, ranks, exchanges); ranks *= 2)
      gpus = std::max(gpus, ranks);
  };
  widen(engine.largest_prefill, 32, DeepEp::kPrefill);
  widen(engine.largest_decode, 64, DeepEp::kBoth);
}

void add_prefill_model(const SweepTask& task, SweptEngine& engine, SweptLayout& swept) {
  if (!task.compatible() || !task.in.disaggregated) return;
  if (swept.layout.gpus() > engine.largest_prefill) return;
  if (swept.model && swept.model->inputs().exchanges()) return;
  auto model = passes(task, engine, swept.layout, DeepEp::kPrefill);
  if (model && model->inputs().exchanges()) swept.prefill_model = *std::move(model);
}

}  // namespace

std::vector<SweptLayout> swept_layouts(const SweepTask& task, SweptEngine& engine) {
  LayoutSearch search{.gpus = task.in.gpus};
  if (task.compatible()) {
    search.context_parallel = true;
    search.two_stages = task.in.gpus >= 16 && engine.set.system().sm_version >= 100;
    widen_workers(task, engine);
  }
  search.largest = std::max(engine.largest_prefill, engine.largest_decode);
  std::vector<SweptLayout> all;
  for (const Layout& layout : layouts(engine.engine, task.shape, search)) {
    SweptLayout swept;
    swept.engine = &engine;
    swept.layout = layout;
    if (layout.gpus() <= engine.largest_decode) {
      if (auto model = passes(task, engine, layout, DeepEp::kBoth))
        swept.model = *std::move(model);
      else
        swept.rejected = model.error().message();
    }
    add_prefill_model(task, engine, swept);
    all.push_back(std::move(swept));
  }
  return all;
}

}  // namespace dsaperf::serving
