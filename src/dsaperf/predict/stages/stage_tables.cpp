#include "dsaperf/predict/stages/stage_tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

// A row this many half-widths of its left-out interval away is contradicted by its neighbours.
constexpr double kContradiction = 4;
// Beyond this share of the prior's variance nothing near was measured.
constexpr double kUnknown = 0.5;
constexpr std::size_t kShownNeighbours = 5;

// A part with its model, and the range that was measured.
struct Prepared {
  Part part;  // its observations move into the model
  std::optional<PartModel> model;
  Sizes low{.heads = INFINITY, .batch = INFINITY, .new_tokens = INFINITY, .past_tokens = INFINITY};
  Sizes high;

  void widen(const Sizes& z) {
    low = {.heads = std::min(low.heads, z.heads),
           .batch = std::min(low.batch, z.batch),
           .new_tokens = std::min(low.new_tokens, z.new_tokens),
           .past_tokens = std::min(low.past_tokens, z.past_tokens)};
    high = {.heads = std::max(high.heads, z.heads),
            .batch = std::max(high.batch, z.batch),
            .new_tokens = std::max(high.new_tokens, z.new_tokens),
            .past_tokens = std::max(high.past_tokens, z.past_tokens)};
  }
  bool holds(const Sizes& z) const {
    return z.heads >= low.heads && z.heads <= high.heads && z.batch >= low.batch &&
           z.batch <= high.batch && z.new_tokens >= low.new_tokens &&
           z.new_tokens <= high.new_tokens && z.past_tokens >= low.past_tokens &&
           z.past_tokens <= high.past_tokens;
  }
};

Result<void> check(const LayerShape& shape) {
  if (shape.heads < 1 || shape.batch < 1 || shape.new_tokens < 1 || shape.past_tokens < 0) {
    return fail(Errc::kInvalidArgument,
                "sizes must be positive: heads {}, batch {}, new {}, past {}", shape.heads,
                shape.batch, shape.new_tokens, shape.past_tokens);
  }
  const bool is_share = shape.full_layer_share >= 0 && shape.full_layer_share <= 1;  // NaN is none
  if (!is_share) {
    return fail(Errc::kInvalidArgument, "share of full layers {} is not between 0 and 1",
                shape.full_layer_share);
  }
  return {};
}

struct Answer {
  double ms = 0, low_ms = 0, high_ms = 0;
  Source source = Source::kInterpolated;
  std::string warning;
};

bool is_what_if(const LayerShape& shape) {
  return shape.topk > 0 || shape.index_heads > 0;
}

// The part's setting with what the question changes.
Setting setting_of(const Prepared& prepared, const LayerShape& shape) {
  auto setting = prepared.part.setting;
  if (shape.topk > 0) setting.topk = static_cast<double>(shape.topk);
  if (shape.index_heads > 0) setting.index_heads = static_cast<double>(shape.index_heads);
  return setting;
}

Answer answer_of(const Prepared& prepared, const Sizes& sizes, const LayerShape& shape) {
  const auto& model = *prepared.model;
  if (is_what_if(shape)) {
    const auto p = model.at(sizes, setting_of(prepared, shape));
    return {.ms = p.latency_ms,
            .low_ms = p.low_ms,
            .high_ms = p.high_ms,
            .source = Source::kModelled,
            .warning = {}};
  }
  if (const auto index = model.find(sizes)) {
    const double measured = model.observations()[*index].latency_ms;
    const auto others = model.without(*index);
    const double half = std::log(others.high_ms / others.latency_ms);
    if (std::abs(std::log(measured / others.latency_ms)) > kContradiction * half) {
      return {
          .ms = others.latency_ms,
          .low_ms = others.low_ms,
          .high_ms = others.high_ms,
          .source = Source::kInterpolated,
          .warning = fmt::format(
              "the row here says {:.4g} ms, which its neighbours contradict ({:.4g} - {:.4g} ms): "
              "it is not used",
              measured, others.low_ms, others.high_ms)};
    }
    const double spread =
        std::exp(model.parameters().calibration.near_width * model.parameters().hyper.noise);
    return {.ms = measured,
            .low_ms = measured / spread,
            .high_ms = measured * spread,
            .source = Source::kMeasured,
            .warning = {}};
  }
  const auto p = model.at(sizes);
  const bool inside = prepared.holds(sizes) && p.relative_variance < kUnknown;
  return {.ms = p.latency_ms,
          .low_ms = p.low_ms,
          .high_ms = p.high_ms,
          .source = inside ? Source::kInterpolated : Source::kExtrapolated,
          .warning = {}};
}

}  // namespace

struct StageTables::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::string system, backend, version;
  perfdb::SystemFile figures;
  std::shared_ptr<HyperparameterStore> store;
  struct PhaseParts {
    std::vector<Prepared> parts;
    std::vector<perfdb::TableSource> sources;
  };
  std::array<std::optional<Result<PhaseParts>>, 2> phases;

  Result<PhaseParts> load(Phase phase) const {
    DSAPERF_TRY_ASSIGN(const auto table,
                       perfdb::load_dsa_table(*tree, system, backend, version, phase));
    DSAPERF_TRY_ASSIGN(auto parts, parts_of(table, figures, backend));
    PhaseParts loaded;
    loaded.sources = table.sources;
    loaded.parts.reserve(parts.size());
    for (auto& part : parts) {
      auto& prepared = loaded.parts.emplace_back();
      for (const auto& o : part.observations) prepared.widen(o.sizes);
      prepared.part = std::move(part);
    }
    return loaded;
  }

  Result<PhaseParts>& phase_parts(Phase phase) {
    auto& slot = phases[static_cast<std::size_t>(phase)];
    if (!slot) slot = load(phase);
    return *slot;
  }

  Sizes sizes_of(const LayerShape& shape) const {
    return {.heads = static_cast<double>(shape.heads),
            .batch = static_cast<double>(shape.batch),
            .new_tokens = static_cast<double>(shape.new_tokens),
            .past_tokens = real_past(backend, shape.phase, static_cast<double>(shape.past_tokens))};
  }

  void prepare(Prepared& prepared) {
    if (prepared.model) return;
    const auto parameters = store->of(prepared.part);
    prepared.model.emplace(prepared.part.setting, std::move(prepared.part.observations),
                           parameters);
  }

  // Several kernels may serve one regime (small batches, large ones): the one measured nearest
  // answers.
  Result<Prepared*> find(const LayerKind& kind, const LayerShape& shape, const Sizes& sizes,
                         bool shares) {
    const auto phase = shape.phase;
    const double topk = shape.topk > 0 ? static_cast<double>(shape.topk) : dims_topk(kind);
    auto& loaded = phase_parts(phase);
    if (!loaded) return tl::unexpected(loaded.error());
    std::vector<Prepared*> candidates;
    bool any = false;
    for (auto& prepared : loaded->parts) {
      if (prepared.part.shares_selection != shares || !(prepared.part.kind == kind)) continue;
      any = true;
      const auto& setting = prepared.part.setting;
      const auto regime = sizes.total() <= topk ? Regime::kDense : Regime::kSparse;
      if (setting.regime == regime) candidates.push_back(&prepared);
    }
    // Graph or eager by the batch; where a regime has rows of one alone, those.
    const auto serves = [&](const Prepared* p) {
      return sizes.batch >= p->part.batch_from && sizes.batch <= p->part.batch_to;
    };
    if (std::any_of(candidates.begin(), candidates.end(), serves)) {
      std::erase_if(candidates, [&](const Prepared* p) { return !serves(p); });
    }
    if (candidates.empty()) {
      return fail(Errc::kNotFound,
                  "{} {} on {}: no {} rows{} of {} with {} cache, {} attention, {} GEMMs{}",
                  backend, version, system, perfdb::name(phase),
                  shares ? " of layers that share a selection" : "", kind.architecture,
                  kind.kv_dtype, kind.fmha_dtype, kind.gemm_dtype,
                  any ? (sizes.total() > topk ? " beyond topk" : " up to topk") : "");
    }
    for (auto* candidate : candidates) prepare(*candidate);
    if (candidates.size() == 1) return candidates.front();
    // Measured there, or within the range of one alone: no need to look at distances.
    const auto measured =
        std::find_if(candidates.begin(), candidates.end(),
                     [&](const Prepared* p) { return p->model->find(sizes).has_value(); });
    if (measured != candidates.end()) return *measured;
    const auto holds = [&](const Prepared* p) { return p->holds(sizes); };
    if (std::count_if(candidates.begin(), candidates.end(), holds) == 1) {
      return *std::find_if(candidates.begin(), candidates.end(), holds);
    }
    Prepared* best = nullptr;
    double nearest = INFINITY;
    for (auto* candidate : candidates) {
      const double squared = candidate->model->squared_distance(sizes);
      if (squared < nearest) {
        nearest = squared;
        best = candidate;
      }
    }
    return best;
  }

  static double dims_topk(const LayerKind& kind) {
    return compatible::dsa_dims(kind.architecture).topk;
  }
};

StageTables::StageTables(std::unique_ptr<State> state) : state_(std::move(state)) {
}
StageTables::StageTables(StageTables&&) noexcept = default;
StageTables& StageTables::operator=(StageTables&&) noexcept = default;
StageTables::~StageTables() = default;

const std::string& StageTables::version() const {
  return state_->version;
}

Result<StageTables> StageTables::open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                      std::string_view system, std::string_view backend,
                                      std::string_view version,
                                      std::shared_ptr<HyperparameterStore> store) {
  auto state = std::make_unique<State>();
  state->tree = std::move(tree);
  state->system = system;
  state->backend = backend;
  state->store = std::move(store);
  DSAPERF_TRY_ASSIGN(state->figures, state->tree->system(system));
  DSAPERF_TRY_ASSIGN(state->version, state->tree->resolve_version(system, backend, version));
  return StageTables(std::move(state));
}

Result<LayerLatency> StageTables::at(const LayerKind& kind, const LayerShape& shape) {
  DSAPERF_TRY(check(shape));
  const auto sizes = state_->sizes_of(shape);
  LayerLatency out;
  std::vector<std::pair<double, Answer>> parts;  // weight, answer
  const double share = shape.full_layer_share;
  const auto add = [&](bool shares, double weight) -> Result<void> {
    DSAPERF_TRY_ASSIGN(const auto* prepared, state_->find(kind, shape, sizes, shares));
    auto answer = answer_of(*prepared, sizes, shape);
    const auto& source = (*state_->phases[static_cast<std::size_t>(shape.phase)])
                             ->sources[static_cast<std::size_t>(prepared->part.source)];
    if (source.backend != state_->backend || source.version != state_->version) {
      out.warnings.push_back(fmt::format("rows of {} {}", source.backend, source.version));
    }
    if (!answer.warning.empty()) out.warnings.push_back(answer.warning);
    parts.emplace_back(weight, std::move(answer));
    return {};
  };
  if (share > 0) DSAPERF_TRY(add(false, share));
  if (share < 1) {
    if (const auto added = add(true, 1 - share); !added) {
      if (share == 0) return tl::unexpected(added.error());
      out.warnings.emplace_back(
          "no rows of layers that share a selection: all layers counted as full ones");
      parts.front().first = 1;
    }
  }
  // Errors of the two sorts of layers have the same causes, so their intervals add.
  double ms = 0;
  double low = 0;
  double high = 0;
  out.source = Source::kMeasured;
  for (const auto& [weight, answer] : parts) {
    ms += weight * answer.ms;
    low += weight * answer.low_ms;
    high += weight * answer.high_ms;
    out.source = std::max(out.source, answer.source);
  }
  out.time = Micros::from_millis(ms);
  out.low = Micros::from_millis(low);
  out.high = Micros::from_millis(high);
  return out;
}

Result<Explanation> StageTables::explain(const LayerKind& kind, const LayerShape& shape) {
  DSAPERF_TRY(check(shape));
  const auto sizes = state_->sizes_of(shape);
  DSAPERF_TRY_ASSIGN(const auto* prepared,
                     state_->find(kind, shape, sizes, shape.full_layer_share <= 0));
  const auto& model = *prepared->model;
  const auto& setting = prepared->part.setting;
  const auto answer = answer_of(*prepared, sizes, shape);
  const auto other = setting_of(*prepared, shape);
  const auto prediction = model.at(sizes, other);
  Explanation out;
  out.kernel_source = prepared->part.kernel_source;
  out.regime = name(setting.regime);
  out.version = (*state_->phases[static_cast<std::size_t>(shape.phase)])
                    ->sources[static_cast<std::size_t>(prepared->part.source)]
                    .version;
  out.stage_model = Micros::from_millis(prediction.stage_ms);
  out.relative_variance = model.find(sizes) ? 0 : prediction.relative_variance;
  // Terms by stage, in order of execution; the correction is spread over all of them.
  std::array<double, model::kStageCount> by_stage{};
  double launches = 0;
  const auto split = model.split(sizes, other);
  const auto list = terms(setting.phase, setting.regime);
  for (std::size_t i = 0; i < split.size(); ++i) {
    (list[i].stage ? by_stage[static_cast<std::size_t>(*list[i].stage)] : launches) += split[i];
  }
  const double scale = answer.ms / prediction.stage_ms;
  for (const auto stage : model::all_stages()) {
    const double ms = by_stage[static_cast<std::size_t>(stage)];
    if (ms > 0)
      out.stages.push_back(
          {.stage = std::string(model::name(stage)), .time = Micros::from_millis(ms * scale)});
  }
  if (launches > 0)
    out.stages.push_back({.stage = "launches", .time = Micros::from_millis(launches * scale)});
  for (const auto& [index, distance] : model.nearest(sizes, kShownNeighbours)) {
    const auto& o = model.observations()[index];
    LayerShape there = shape;
    there.heads = static_cast<std::int64_t>(o.sizes.heads);
    there.batch = static_cast<std::int64_t>(o.sizes.batch);
    there.new_tokens = static_cast<std::int64_t>(o.sizes.new_tokens);
    there.past_tokens = static_cast<std::int64_t>(o.sizes.past_tokens);
    out.nearest.push_back(
        {.shape = there, .measured = Micros::from_millis(o.latency_ms), .distance = distance});
  }
  return out;
}

}  // namespace dsaperf::predict::stages
