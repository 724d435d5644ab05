#include "dsaperf/predict/stages/stage_tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/stages/loaded_parts.hpp"
#include "dsaperf/predict/stages/nearest_rows.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

// Beyond this share of the prior's variance nothing near was measured.
constexpr double kUnknown = 0.5;

struct Answer {
  double ms = 0, low_ms = 0, high_ms = 0;
  Source source = Source::kInterpolated;
};

Answer answer_of(const PartPrediction& p, Source source) {
  return {.ms = p.latency_ms, .low_ms = p.low_ms, .high_ms = p.high_ms, .source = source};
}

// The part that answers, and what the question changes of it.
struct Located {
  const LoadedPart* rows = nullptr;
  std::unique_ptr<const Moved> moved;  // none: it does not
};

// What the rows of a part say of themselves.
Answer own_answer(const LoadedPart& rows, const Sizes& sizes, Warnings& warnings) {
  const auto& model = *rows.model;
  const auto index = model.find(sizes);
  if (!index) {
    const auto p = model.at(sizes);
    const bool inside = rows.measured.holds(sizes) && p.relative_variance < kUnknown;
    return answer_of(p, inside ? Source::kInterpolated : Source::kExtrapolated);
  }
  const double measured = model.observations()[*index].latency_ms;
  if (model.is_contradicted(*index)) {
    const auto others = model.without(*index);
    warnings.add(fmt::format(
        "the row here says {:.4g} ms, which its neighbours contradict ({:.4g} - {:.4g} ms): "
        "it is not used",
        measured, others.low_ms, others.high_ms));
    return answer_of(others, Source::kInterpolated);
  }
  const double spread = std::exp(model.width(0, sizes, {}) * model.parameters().hyper.noise);
  return {.ms = measured,
          .low_ms = measured / spread,
          .high_ms = measured * spread,
          .source = Source::kMeasured};
}

Answer answer_at(const Located& located, const Sizes& sizes, Warnings& warnings) {
  const auto& moved = located.moved;
  if (!moved) return own_answer(*located.rows, sizes, warnings);
  const auto& model = *located.rows->model;
  auto from = model.at(sizes);
  if (moved->resized) {  // so that the size as it is changes nothing
    Warnings of_rows;    // about a measurement that the answer does not repeat
    const auto own = own_answer(*located.rows, sizes, of_rows);
    from.latency_ms = own.ms;
    from.low_ms = own.low_ms;
    from.high_ms = own.high_ms;
  }
  return answer_of(model.moved(from, sizes, moved->setting, moved->doubt), Source::kModelled);
}

// Errors of the two sorts of layers have the same causes, so their intervals add.
Answer weighed(const Answer& full, const Answer& sharing, double share) {
  const double rest = 1 - share;
  return {.ms = share * full.ms + rest * sharing.ms,
          .low_ms = share * full.low_ms + rest * sharing.low_ms,
          .high_ms = share * full.high_ms + rest * sharing.high_ms,
          .source = std::max(full.source, sharing.source)};
}

// Of parts that serve one regime and these sizes alike, all of them prepared: one that was measured
// there, or the only one whose range holds them, before distances are looked at.
LoadedPart* nearest_of(const std::vector<LoadedPart*>& parts, const Sizes& sizes) {
  const auto is_measured = [&](const LoadedPart* p) { return p->model->find(sizes).has_value(); };
  const auto measured = std::ranges::find_if(parts, is_measured);
  if (measured != parts.end()) return *measured;
  const auto holds = [&](const LoadedPart* p) { return p->measured.holds(sizes); };
  if (std::ranges::count_if(parts, holds) == 1) return *std::ranges::find_if(parts, holds);
  LoadedPart* best = nullptr;
  double nearest = INFINITY;
  for (auto* part : parts) {
    const double squared = part->model->squared_distance(sizes);
    if (squared < nearest) {
      nearest = squared;
      best = part;
    }
  }
  return best;
}

// Several kernels may serve one regime (small batches, large ones): the one measured nearest
// answers. nullptr: there are no rows.
LoadedPart* choose(const NearestRows& nearest, const Sizes& sizes, HyperparameterStore& store) {
  const auto& all = nearest.candidates;
  if (all.size() == 1) {
    prepare(*all.front(), store);
    return all.front();
  }
  // Graph or eager by the batch; where a regime has rows of one alone, those.
  const auto serves = [&](const LoadedPart* p) {
    return sizes.batch >= p->part.setting.batch_from && sizes.batch <= p->part.setting.batch_to;
  };
  const bool any_serves = std::ranges::any_of(all, serves);
  const auto counts = [&](const LoadedPart* p) { return !any_serves || serves(p); };
  LoadedPart* only = nullptr;
  std::size_t count = 0;
  for (auto* candidate : all) {
    if (!counts(candidate)) continue;
    prepare(*candidate, store);
    only = candidate;
    ++count;
  }
  if (count <= 1) return only;
  auto candidates = all;
  std::erase_if(candidates, [&](const LoadedPart* p) { return !counts(p); });
  return nearest_of(candidates, sizes);
}

}  // namespace

struct StageTables::Kind {
  LayerKind layer;
  LayerSizes sizes;
  // By phase, regime and whether layers share a selection; empty: not asked for yet.
  std::array<std::optional<NearestRows>, 8> nearest;

  std::optional<NearestRows>& nearest_of(const Question& question) {
    return nearest[static_cast<std::size_t>(question.shape.phase) * 4 +
                   static_cast<std::size_t>(question.regime()) * 2 +
                   (question.shares_selection ? 1 : 0)];
  }
};

struct StageTables::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  TableOwner owner;
  perfdb::SystemFile figures;
  std::shared_ptr<HyperparameterStore> store;
  std::array<std::optional<Result<LoadedParts>>, 2> phases;
  std::deque<Kind> kinds;  // asked for before, in place for good

  Result<LoadedParts>& loaded_parts(Phase phase) {
    auto& slot = phases[static_cast<std::size_t>(phase)];
    if (!slot) slot = LoadedParts::load(*tree, owner, figures, phase, *store);
    return *slot;
  }

  Question question(const Kind& kind, const LayerShape& shape, const Move* move) const {
    return {.layer = kind.layer,
            .layer_sizes = kind.sizes,
            .shape = shape,
            .sizes = {.heads = static_cast<double>(shape.heads),
                      .batch = static_cast<double>(shape.batch),
                      .new_tokens = static_cast<double>(shape.new_tokens),
                      .past_tokens = real_past(owner.backend, shape.phase,
                                               static_cast<double>(shape.past_tokens))},
            .shares_selection = shape.full_layer_share == 0,
            .move = move};
  }

  Result<Located> locate(Kind& kind, const Question& question) {
    auto& nearest = kind.nearest_of(question);
    if (!nearest) {
      auto& loaded = loaded_parts(question.shape.phase);
      if (!loaded) return tl::unexpected(loaded.error());
      nearest = nearest_rows(*loaded, question);
    }
    const auto* rows = choose(*nearest, question.sizes, *store);
    if (rows == nullptr) {
      return fail(Errc::kNotFound, "{} {} on {}: no {} rows{} {}", owner.backend, owner.version,
                  owner.system, perfdb::name(question.shape.phase),
                  question.shares_selection ? " of layers that share a selection" : "",
                  question.regime() == Regime::kSparse ? "beyond topk" : "up to topk");
    }
    Located out{.rows = rows, .moved = {}};
    if (are_others(*nearest, *rows, question) || question.is_resized()) {
      DSAPERF_TRY_ASSIGN(out.moved, moved_from(*nearest, *rows, question, figures));
    }
    return out;
  }

  Result<Answer> answer(Kind& kind, const Question& question, Warnings& warnings) {
    DSAPERF_TRY_ASSIGN(const auto located, locate(kind, question));
    if (located.moved) {
      if (!located.moved->text.empty()) warnings.add("modelled from " + located.moved->text);
      if (!located.moved->note.empty()) warnings.add(located.moved->note);
    }
    warnings.add(located.rows->warnings);
    return answer_at(located, question.sizes, warnings);
  }
};

StageTables::StageTables(std::unique_ptr<State> state) : state_(std::move(state)) {
}
StageTables::StageTables(StageTables&&) noexcept = default;
StageTables& StageTables::operator=(StageTables&&) noexcept = default;
StageTables::~StageTables() = default;

const std::string& StageTables::version() const {
  return state_->owner.version;
}

Result<StageTables> StageTables::open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                      std::string_view system, std::string_view backend,
                                      std::string_view version,
                                      std::shared_ptr<HyperparameterStore> store) {
  auto state = std::make_unique<State>();
  state->tree = std::move(tree);
  state->store = std::move(store);
  DSAPERF_TRY_ASSIGN(state->figures, state->tree->system(system));
  DSAPERF_TRY_ASSIGN(auto resolved, state->tree->resolve_version(system, backend, version));
  state->owner = {.system = std::string(system),
                  .backend = std::string(backend),
                  .version = std::move(resolved)};
  return StageTables(std::move(state));
}

StageTables::Kind& StageTables::kind(const LayerKind& kind) {
  auto& kinds = state_->kinds;
  const auto known =
      std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.layer == kind; });
  if (known != kinds.end()) return *known;
  return kinds.emplace_back(Kind{
      .layer = kind, .sizes = kind.sizes.value_or(known_sizes(kind.architecture)), .nearest = {}});
}

Result<LayerLatency> StageTables::at(Kind& kind, const LayerShape& shape, const Move* move) {
  DSAPERF_TRY(check_shape(shape));
  auto question = state_->question(kind, shape, move);
  LayerLatency out;
  DSAPERF_TRY_ASSIGN(auto answer, state_->answer(kind, question, out.warnings));
  const double share = shape.full_layer_share;
  if (share > 0 && share < 1) {
    question.shares_selection = true;
    if (const auto sharing = state_->answer(kind, question, out.warnings))
      answer = weighed(answer, *sharing, share);
    else
      out.warnings.add("no rows of layers that share a selection: all layers counted as full ones");
  }
  out.time = Micros::from_millis(answer.ms);
  out.low = Micros::from_millis(answer.low_ms);
  out.high = Micros::from_millis(answer.high_ms);
  out.source = answer.source;
  return out;
}

Result<Explanation> StageTables::explain(Kind& kind, const LayerShape& shape, const Move* move) {
  DSAPERF_TRY(check_shape(shape));
  const auto question = state_->question(kind, shape, move);
  DSAPERF_TRY_ASSIGN(const auto located, state_->locate(kind, question));
  Warnings of_answer;  // which an explanation does not repeat
  const auto answer = answer_at(located, question.sizes, of_answer);
  auto out = explained({.rows = *located.rows,
                        .moved = located.moved.get(),
                        .shape = shape,
                        .sizes = question.sizes,
                        .ms = answer.ms});
  const auto& sources = (*state_->loaded_parts(shape.phase)).sources;
  out.version = sources[static_cast<std::size_t>(located.rows->part.source)].version;
  return out;
}

}  // namespace dsaperf::predict::stages
