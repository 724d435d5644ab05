#include "dsaperf/predict/stages/stage_tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/kept_parts.hpp"
#include "dsaperf/predict/stages/stage_bound.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <span>
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
  Part part;           // its observations move into the model
  std::string origin;  // whose rows they are, where the tables lack their own
  Warnings warnings;   // what lint finds in them, and `origin`
  std::optional<PartModel> model;
  Extent measured;
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
};

// Half-widths in log that a move to another kind of layer adds. Assumed, not measured yet: wide
// enough to say that the answer is a guess across kinds (docs/predict.md, "Cards without a table").
constexpr double kOtherCache = 0.15;
constexpr double kOtherGemm = 0.2;
constexpr double kOtherArchitecture = 0.2;
constexpr double kOtherAttention = 0.2;
constexpr double kSeveralTokens = 0.1;  // of decode, whose rows have one token a request

// How a question differs from the rows that answer it.
struct Moved {
  Setting setting;       // of the question
  bool resized = false;  // by another topk or other index heads alone: the rows are its own
  double doubt = 0;
  std::string text;
  std::string note;  // what the answer takes for granted
};

struct Located {
  const Prepared* prepared = nullptr;
  std::unique_ptr<const Moved> moved;  // none: it does not

  const Setting& asked() const { return moved ? moved->setting : prepared->part.setting; }
};

// The rows that answer for a kind of layer: the question's own, else of the nearest kind that has
// rows of the regime.
struct Nearest {
  std::vector<Prepared*> candidates;
  double doubt = 0;
  std::string text;
};

// What the rows of a part say of themselves.
Answer own_answer(const Prepared& prepared, const Sizes& sizes, Warnings& warnings) {
  const auto& model = *prepared.model;
  if (const auto index = model.find(sizes)) {
    const double measured = model.observations()[*index].latency_ms;
    const auto others = model.without(*index);
    const double half = std::log(others.high_ms / others.latency_ms);
    if (std::abs(std::log(measured / others.latency_ms)) > kContradiction * half) {
      warnings.add(fmt::format(
          "the row here says {:.4g} ms, which its neighbours contradict ({:.4g} - {:.4g} ms): "
          "it is not used",
          measured, others.low_ms, others.high_ms));
      return {.ms = others.latency_ms,
              .low_ms = others.low_ms,
              .high_ms = others.high_ms,
              .source = Source::kInterpolated};
    }
    const double spread = std::exp(model.width(0, sizes, {}) * model.parameters().hyper.noise);
    return {.ms = measured,
            .low_ms = measured / spread,
            .high_ms = measured * spread,
            .source = Source::kMeasured};
  }
  const auto p = model.at(sizes);
  const bool inside = prepared.measured.holds(sizes) && p.relative_variance < kUnknown;
  return {.ms = p.latency_ms,
          .low_ms = p.low_ms,
          .high_ms = p.high_ms,
          .source = inside ? Source::kInterpolated : Source::kExtrapolated};
}

Answer answer_of(const Located& located, const Sizes& sizes, Warnings& warnings) {
  const auto& model = *located.prepared->model;
  if (!located.moved) return own_answer(*located.prepared, sizes, warnings);
  auto from = model.at(sizes);
  if (located.moved->resized) {  // so that the size as it is changes nothing
    Warnings of_rows;            // about a measurement that the answer does not repeat
    const auto own = own_answer(*located.prepared, sizes, of_rows);
    from.latency_ms = own.ms;
    from.low_ms = own.low_ms;
    from.high_ms = own.high_ms;
  }
  const auto p = model.moved(from, sizes, located.moved->setting, located.moved->doubt);
  return {
      .ms = p.latency_ms, .low_ms = p.low_ms, .high_ms = p.high_ms, .source = Source::kModelled};
}

// Errors of the two sorts of layers have the same causes, so their intervals add.
Answer weighed(const Answer& full, const Answer& sharing, double share) {
  const double rest = 1 - share;
  return {.ms = share * full.ms + rest * sharing.ms,
          .low_ms = share * full.low_ms + rest * sharing.low_ms,
          .high_ms = share * full.high_ms + rest * sharing.high_ms,
          .source = std::max(full.source, sharing.source)};
}

}  // namespace

struct StageTables::Kind {
  LayerKind layer;
  LayerSizes sizes;
  // By phase, regime and whether layers share a selection; empty: not asked for yet.
  std::array<std::optional<Nearest>, 8> nearest;
};

namespace {

// One sort of the layers of a pass, as asked for.
struct Question {
  StageTables::Kind& kind;
  const LayerShape& shape;
  Sizes sizes;
  bool shares_selection = false;
  const Move* move = nullptr;

  double topk() const { return shape.topk > 0 ? static_cast<double>(shape.topk) : kind.sizes.topk; }
  double index_heads() const {
    return shape.index_heads > 0 ? static_cast<double>(shape.index_heads) : kind.sizes.index_heads;
  }
  // Of the longest request of the pass.
  double total() const { return std::max(sizes.total(), static_cast<double>(shape.longest_total)); }
  // Another topk leaves the kernels as they were measured at these sizes: sparse ones go on to
  // select, all tokens if need be. Dense ones become sparse where tokens are left out.
  Regime regime() const {
    return total() <= std::min(topk(), kind.sizes.topk) ? Regime::kDense : Regime::kSparse;
  }
};

// Of a request in decode, whose rows have one.
bool has_several_tokens(const Question& question, const Prepared& rows) {
  return question.shape.phase == Phase::kGeneration && question.sizes.new_tokens > 1 &&
         rows.measured.high.new_tokens <= 1;
}

// Whether rows are not of just such layers as the question's, another topk or other index heads
// aside.
bool are_others(const Nearest& kind, const Prepared& rows, const Question& question) {
  return has_several_tokens(question, rows) || question.move != nullptr || !kind.text.empty() ||
         question.kind.layer.sizes.has_value();
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
  std::deque<Kind> kinds;  // asked for before, in place for good

  Result<PhaseParts> load(Phase phase) const {
    PhaseParts loaded;
    DSAPERF_TRY_ASSIGN(loaded.sources,
                       tree->sources(system, backend, version, perfdb::dsa_table_file(phase)));
    // Our own tables are small, and a folder that changes does not say when.
    const KeptParts kept(tree->is_shipped() ? std::filesystem::path() : store->cache_folder(),
                         figures, backend, version, phase, loaded.sources);
    auto found = kept.read(figures);
    const auto all_known = [&](const std::vector<Part>& parts) {
      return std::all_of(parts.begin(), parts.end(),
                         [&](const Part& part) { return store->knows(part); });
    };
    if (!found || !all_known(*found)) {
      DSAPERF_TRY_ASSIGN(const auto table,
                         perfdb::load_dsa_table(*tree, system, backend, version, phase));
      DSAPERF_TRY_ASSIGN(found, parts_of(table, figures, backend));
      if (!all_known(*found)) look_at_rows(*found, table, backend);
      kept.write(*found);
      loaded.sources = table.sources;
    }
    auto& parts = *found;
    loaded.parts.reserve(parts.size());
    for (auto& part : parts) {
      auto& prepared = loaded.parts.emplace_back();
      for (const auto& o : part.observations) prepared.measured.widen(o.sizes);
      const auto& source = loaded.sources[static_cast<std::size_t>(part.source)];
      if (source.backend != backend || source.version != version)
        prepared.origin = fmt::format("rows of {} {}", source.backend, source.version);
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

  void prepare(Prepared& prepared) const {
    if (prepared.model) return;
    const auto parameters = store->of(prepared.part);
    prepared.part.defects = store->defects_of(prepared.part);
    if (!prepared.part.defects.empty())
      prepared.warnings.add("lint finds defects among the rows used: " + prepared.part.defects);
    if (!prepared.origin.empty()) prepared.warnings.add(prepared.origin);
    prepared.model.emplace(prepared.part.setting, std::move(prepared.part.observations),
                           parameters);
  }

  static Nearest nearest_rows(PhaseParts& loaded, const LayerKind& kind, Regime regime,
                              bool shares) {
    Nearest best;
    double least = INFINITY;
    const LayerKind* of = nullptr;
    for (auto& prepared : loaded.parts) {
      const auto& part = prepared.part;
      if (part.shares_selection != shares || part.setting.regime != regime) continue;
      const bool cache = part.kind.kv_dtype != kind.kv_dtype;
      const bool gemm = part.kind.gemm_dtype != kind.gemm_dtype;
      const bool attention = part.kind.fmha_dtype != kind.fmha_dtype;
      const bool architecture = part.kind.architecture != kind.architecture;
      const double doubt =
          std::sqrt((cache ? kOtherCache * kOtherCache : 0) + (gemm ? kOtherGemm * kOtherGemm : 0) +
                    (attention ? kOtherAttention * kOtherAttention : 0) +
                    (architecture ? kOtherArchitecture * kOtherArchitecture : 0));
      if (of != nullptr && part.kind == *of) {
        best.candidates.push_back(&prepared);
      } else if (doubt < least) {
        least = doubt;
        of = &part.kind;
        best.candidates = {&prepared};
        best.doubt = doubt;
        best.text.clear();
        const auto add = [&](bool differs, std::string_view what, std::string_view name) {
          if (differs)
            best.text += fmt::format("{}{} {}", best.text.empty() ? "" : ", ", what, name);
        };
        add(architecture, "architecture", part.kind.architecture);
        add(cache, "cache", part.kind.kv_dtype);
        add(gemm, "GEMMs", part.kind.gemm_dtype);
        add(attention, "attention", part.kind.fmha_dtype);
      }
    }
    return best;
  }

  // The part that answers, and what the question changes of it.
  Result<Located> locate(const Question& question) {
    const auto& [kind, shape, sizes, shares, move] = question;
    const auto regime = question.regime();
    auto& nearest = kind.nearest[static_cast<std::size_t>(shape.phase) * 4 +
                                 static_cast<std::size_t>(regime) * 2 + (shares ? 1 : 0)];
    if (!nearest) {
      auto& loaded = phase_parts(shape.phase);
      if (!loaded) return tl::unexpected(loaded.error());
      nearest = nearest_rows(*loaded, kind.layer, regime, shares);
    }
    auto* prepared = choose(*nearest, sizes);
    if (prepared == nullptr) {
      return fail(Errc::kNotFound, "{} {} on {}: no {} rows{} {}", backend, version, system,
                  perfdb::name(shape.phase), shares ? " of layers that share a selection" : "",
                  regime == Regime::kSparse ? "beyond topk" : "up to topk");
    }
    Located out{.prepared = prepared, .moved = {}};
    if (are_others(*nearest, *prepared, question) || question.topk() != kind.sizes.topk ||
        question.index_heads() != kind.sizes.index_heads) {
      DSAPERF_TRY_ASSIGN(out.moved, moved(question, *nearest, *prepared));
    }
    return out;
  }

  Result<std::unique_ptr<const Moved>> moved(const Question& question, const Nearest& nearest,
                                             const Prepared& prepared) const {
    const auto* move = question.move;
    auto moved = std::make_unique<Moved>();
    auto& setting = moved->setting;
    DSAPERF_TRY_ASSIGN(setting, make_setting(move != nullptr ? move->card : figures,
                                             question.kind.layer, question.shape.phase,
                                             question.regime(), prepared.part.setting.own_indexer));
    moved->resized = !are_others(nearest, prepared, question);
    moved->doubt = nearest.doubt;
    setting.topk = question.topk();
    setting.index_heads = question.index_heads();
    if (question.regime() == Regime::kSparse && question.total() <= question.topk()) {
      setting.topk = question.total();
      moved->note = fmt::format(
          "topk {:.0f} selects all {:.0f} tokens: of the sparse kernels; a framework may take its "
          "dense ones there",
          question.topk(), question.total());
    }
    if (!nearest.text.empty()) moved->text = "rows of " + nearest.text;
    if (move != nullptr) {
      moved->doubt = std::hypot(moved->doubt, move->doubt);
      setting.host_launch = move->host_launch;
      moved->text = move->text + (moved->text.empty() ? "" : ", " + moved->text);
    }
    if (has_several_tokens(question, prepared)) {
      moved->doubt = std::hypot(moved->doubt, kSeveralTokens);
      moved->text += fmt::format("{}rows of one token a request", moved->text.empty() ? "" : ", ");
    }
    return moved;
  }

  Result<Answer> answer(const Question& question, Warnings& warnings) {
    DSAPERF_TRY_ASSIGN(const auto located, locate(question));
    if (located.moved) {
      if (!located.moved->text.empty()) warnings.add("modelled from " + located.moved->text);
      if (!located.moved->note.empty()) warnings.add(located.moved->note);
    }
    warnings.add(located.prepared->warnings);
    return answer_of(located, question.sizes, warnings);
  }

  // Several kernels may serve one regime (small batches, large ones): the one measured nearest
  // answers. nullptr: there are no rows.
  Prepared* choose(const Nearest& rows, const Sizes& sizes) const {
    if (rows.candidates.size() == 1) {
      prepare(*rows.candidates.front());
      return rows.candidates.front();
    }
    // Graph or eager by the batch; where a regime has rows of one alone, those.
    const auto serves = [&](const Prepared* p) {
      return sizes.batch >= p->part.setting.batch_from && sizes.batch <= p->part.setting.batch_to;
    };
    const bool any_serves = std::any_of(rows.candidates.begin(), rows.candidates.end(), serves);
    Prepared* only = nullptr;
    std::size_t count = 0;
    for (auto* candidate : rows.candidates) {
      if (any_serves && !serves(candidate)) continue;
      prepare(*candidate);
      only = candidate;
      ++count;
    }
    if (count <= 1) return only;
    auto candidates = rows.candidates;
    std::erase_if(candidates, [&](const Prepared* p) { return any_serves && !serves(p); });
    // Measured there, or within the range of one alone: no need to look at distances.
    const auto measured =
        std::find_if(candidates.begin(), candidates.end(),
                     [&](const Prepared* p) { return p->model->find(sizes).has_value(); });
    if (measured != candidates.end()) return *measured;
    const auto holds = [&](const Prepared* p) { return p->measured.holds(sizes); };
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

StageTables::Kind& StageTables::kind(const LayerKind& kind) {
  auto& kinds = state_->kinds;
  const auto known =
      std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.layer == kind; });
  if (known != kinds.end()) return *known;
  return kinds.emplace_back(Kind{
      .layer = kind, .sizes = kind.sizes.value_or(known_sizes(kind.architecture)), .nearest = {}});
}

Result<LayerLatency> StageTables::at(Kind& kind, const LayerShape& shape, const Move* move) {
  DSAPERF_TRY(check(shape));
  const double share = shape.full_layer_share;
  Question question{.kind = kind,
                    .shape = shape,
                    .sizes = state_->sizes_of(shape),
                    .shares_selection = share == 0,
                    .move = move};
  LayerLatency out;
  DSAPERF_TRY_ASSIGN(auto answer, state_->answer(question, out.warnings));
  if (share > 0 && share < 1) {
    question.shares_selection = true;
    if (const auto sharing = state_->answer(question, out.warnings))
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

namespace {

// The answer by stages: each has its bound, and what is left over is shared out as the model has
// it. Where the host is waited for, the kernels keep the time that the model gives them.
void split(Explanation& out, const Located& located, const Sizes& sizes, double answer_ms) {
  const auto& model = *located.prepared->model;
  const auto& setting = located.asked();
  const auto values = model.split(sizes, setting);
  const auto list = terms(setting.phase, setting.regime);
  std::array<double, model::kStageCount + 1> by_stage{};  // the last: launches
  double kernels = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    by_stage[list[i].stage ? static_cast<std::size_t>(*list[i].stage) : model::kStageCount] +=
        values[i];
    kernels += values[i];
  }
  const auto bounds = stage_bounds(setting, sizes);
  double bounded = 0;
  for (const auto& bound : bounds) bounded += bound.ms();
  const double host = model.host_ms(sizes, setting);
  double busy = answer_ms;
  if (host > 0) {
    busy = std::max({without_host_time(host, answer_ms), std::min(kernels, answer_ms),
                     std::min(bounded, answer_ms)});
  }
  // An answer below the sum of the bounds would beat the hardware: then the bounds are scaled.
  const double squeeze = bounded > busy ? busy / bounded : 1;
  double excess = 0;
  for (std::size_t i = 0; i < by_stage.size(); ++i) {
    excess += std::max(by_stage[i] - (i < bounds.size() ? bounds[i].ms() : 0), 0.0);
  }
  const double left = busy - bounded * squeeze;
  const double scale = excess > 0 ? left / excess : 0;
  const auto add = [&](std::string_view name, double ms, const StageBound& bound) {
    if (ms <= 0) return;
    out.stages.push_back({.stage = std::string(name),
                          .time = Micros::from_millis(ms),
                          .bound = Micros::from_millis(bound.ms()),
                          .binds = bound.ms() <= 0                   ? ""
                                   : bound.math_ms > bound.memory_ms ? "math"
                                                                     : "memory"});
  };
  for (const auto stage : model::all_stages()) {
    const auto i = static_cast<std::size_t>(stage);
    const double bound = bounds[i].ms();
    add(model::name(stage), bound * squeeze + scale * std::max(by_stage[i] - bound, 0.0),
        bounds[i]);
  }
  const double gaps = scale * by_stage.back() + (excess > 0 ? 0 : left);
  add("launches", gaps, {});
  add("host", answer_ms - busy, {});
}

}  // namespace

Result<Explanation> StageTables::explain(Kind& kind, const LayerShape& shape, const Move* move) {
  DSAPERF_TRY(check(shape));
  const auto sizes = state_->sizes_of(shape);
  DSAPERF_TRY_ASSIGN(const auto located,
                     state_->locate({.kind = kind,
                                     .shape = shape,
                                     .sizes = sizes,
                                     .shares_selection = shape.full_layer_share <= 0,
                                     .move = move}));
  const auto* prepared = located.prepared;
  const auto& model = *prepared->model;
  Warnings of_answer;  // which an explanation does not repeat
  const auto answer = answer_of(located, sizes, of_answer);
  auto prediction = model.at(sizes);
  if (const auto& moved = located.moved)
    prediction = model.moved(prediction, sizes, moved->setting, moved->doubt);
  Explanation out;
  out.kernel_source = prepared->part.kernel_source;
  out.regime = name(prepared->part.setting.regime);
  out.version = (*state_->phases[static_cast<std::size_t>(shape.phase)])
                    ->sources[static_cast<std::size_t>(prepared->part.source)]
                    .version;
  if (located.moved) out.moved = located.moved->text;
  out.defects = prepared->part.defects;
  out.stage_model = Micros::from_millis(prediction.stage_ms);
  out.host_time = Micros::from_millis(model.host_ms(sizes, located.asked()));
  out.relative_variance = !located.moved && model.find(sizes) ? 0 : prediction.relative_variance;
  split(out, located, sizes, answer.ms);
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

Result<std::vector<std::uint64_t>> part_hashes(const perfdb::SystemsTree& tree,
                                               std::string_view system, std::string_view backend,
                                               std::string_view version, Phase phase) {
  DSAPERF_TRY_ASSIGN(const auto figures, tree.system(system));
  DSAPERF_TRY_ASSIGN(const auto table,
                     perfdb::load_dsa_table(tree, system, backend, version, phase));
  DSAPERF_TRY_ASSIGN(const auto parts, parts_of(table, figures, backend));
  std::vector<std::uint64_t> hashes;
  hashes.reserve(parts.size());
  for (const auto& part : parts) hashes.push_back(part.hash);
  return hashes;
}

Result<std::size_t> prepare(const perfdb::SystemsTree& tree, std::string_view system,
                            std::string_view backend, std::string_view version, Phase phase,
                            HyperparameterStore& store,
                            const std::function<void(const Part&)>& note) {
  DSAPERF_TRY_ASSIGN(const auto figures, tree.system(system));
  DSAPERF_TRY_ASSIGN(const auto table,
                     perfdb::load_dsa_table(tree, system, backend, version, phase));
  DSAPERF_TRY_ASSIGN(auto parts, parts_of(table, figures, backend));
  look_at_rows(parts, table, backend);
  for (const auto& part : parts) store.of(part, note);
  return parts.size();
}

}  // namespace dsaperf::predict::stages
