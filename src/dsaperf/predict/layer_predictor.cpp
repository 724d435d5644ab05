#include "dsaperf/predict/layer_predictor.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dsaperf::predict {
namespace {

// Apart by a character that no name has.
std::string name_of(const Tables& tables) {
  return tables.system + '\n' + tables.backend + '\n' + tables.version;
}

// Half-widths in log that another card's or framework's rows add (docs/predict.md, held-out cards).
constexpr double kSameGeneration = 0.08;
constexpr double kOtherGeneration = 0.6;
constexpr double kOtherFramework = 0.8;

}  // namespace

std::string_view name(Method method) {
  return method == Method::kStages ? "stages" : "compatible";
}

std::optional<Method> method_from_name(std::string_view name) {
  if (name == "stages") return Method::kStages;
  if (name == "compatible") return Method::kCompatible;
  return std::nullopt;
}

// A kind of layer by the tables asked, and what was found for it so far.
struct LayerPredictor::Known {
  Tables tables;
  LayerKind kind;
  Result<stages::StageTables>* opened = nullptr;                               // of the stage model
  stages::StageTables::Kind* rows = nullptr;                                   // among those opened
  std::array<std::optional<Result<compatible::DsaLayer>>, 2> compatible = {};  // by phase
};

struct LayerPredictor::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::shared_ptr<const perfdb::SystemsTree> own_tree;  // opened where it is asked for
  Method method = Method::kCompatible;
  std::unordered_map<std::string, Result<compatible::DsaTables>> tables;
  std::shared_ptr<stages::HyperparameterStore> store;
  std::unordered_map<std::string, Result<stages::StageTables>> stage_tables;
  std::map<std::string, std::map<std::string, double>> host_launches;  // by system, backend
  std::deque<Known> kinds;                                             // in place for good
  Known* last = nullptr;  // asked for: questions repeat it

  Known& find(const Tables& asked, const LayerKind& kind) {
    const auto is_it = [&](const Known& k) { return k.tables == asked && k.kind == kind; };
    if (last != nullptr && is_it(*last)) return *last;
    const auto found = std::find_if(kinds.begin(), kinds.end(), is_it);
    last =
        found != kinds.end() ? &*found : &kinds.emplace_back(Known{.tables = asked, .kind = kind});
    return *last;
  }

  // Our own tables are in no tree of a framework's.
  std::shared_ptr<const perfdb::SystemsTree> tree_of(const Tables& asked) {
    if (asked.backend != perfdb::kOwnBackend || tree->is_shipped()) return tree;
    if (!own_tree) {
      auto shipped = perfdb::SystemsTree::shipped();
      if (!shipped) return tree;  // has none of them, and says so
      own_tree = std::make_shared<const perfdb::SystemsTree>(*std::move(shipped));
    }
    return own_tree;
  }

  Result<compatible::DsaTables>& open(const Tables& asked) {
    auto name = name_of(asked);
    const auto found = tables.find(name);
    if (found != tables.end()) return found->second;
    return tables
        .emplace(std::move(name), compatible::DsaTables::open(tree_of(asked), asked.system,
                                                              asked.backend, asked.version))
        .first->second;
  }

  Result<stages::StageTables>& open_stages(const Tables& asked) {
    auto name = name_of(asked);
    const auto found = stage_tables.find(name);
    if (found != stage_tables.end()) return found->second;
    if (!store)
      store = std::make_shared<stages::HyperparameterStore>(stages::HyperparameterStore::open());
    return stage_tables
        .emplace(std::move(name), stages::StageTables::open(tree_of(asked), asked.system,
                                                            asked.backend, asked.version, store))
        .first->second;
  }

  // Figures of a card that the tree knows, else of one that has a specification alone.
  Result<perfdb::SystemFile> card(const std::string& name) const {
    auto known = tree->system(name);
    if (known) return known;
    const auto data = data_dir();
    if (!data) return known;
    const auto spec = cost::find_system(*data, name);
    if (!spec) return known;
    perfdb::SystemFile file;
    file.name = name;
    file.mem_bw = spec->hbm_bytes_per_s;
    const std::array<std::pair<const char*, cost::MathFormat>, 4> rates = {
        {{"bfloat16", cost::MathFormat::kBf16},
         {"fp8", cost::MathFormat::kFp8},
         {"int8", cost::MathFormat::kInt8},
         {"fp4", cost::MathFormat::kFp4}}};
    for (const auto& [rate, format] : rates) {
      if (const auto peak = spec->peak(format)) file.rates[rate] = *peak;
    }
    file.sm_version = spec->sm_version.value_or(0);
    return file;
  }

  // Of a system that data/systems does not know: as on an x86 server.
  double host_launch(const std::string& system, const std::string& backend) {
    auto found = host_launches.find(system);
    if (found == host_launches.end()) {
      const auto data = data_dir();
      const auto spec = data ? cost::find_system(*data, system) : tl::unexpected(data.error());
      found =
          host_launches.emplace(system, spec ? spec->host_launch : std::map<std::string, double>())
              .first;
    }
    const auto ratio = found->second.find(backend);
    return ratio == found->second.end() ? 1 : ratio->second;
  }

  // Tables whose rows can stand in, the nearest first: the same framework on another card, then
  // another framework on this one, then the rest.
  struct StandIn {
    Tables tables;
    stages::Move move;
    double distance = 0;
  };
  std::vector<StandIn> stand_ins(const Tables& asked, const perfdb::SystemFile& card) {
    std::vector<StandIn> found;
    for (const auto& system : tree->systems()) {
      const auto other = tree->system(system);
      const auto backends = tree->backends(system);
      if (!other || !backends || other->mem_bw <= 0) continue;
      const bool same_card = system == asked.system;
      const bool same_generation = other->sm_version / 10 == card.sm_version / 10;
      const double rates = std::abs(std::log(other->mem_bw / card.mem_bw));
      const double card_doubt = same_card         ? 0
                                : same_generation ? kSameGeneration
                                                  : kOtherGeneration;
      for (const auto& backend : *backends) {
        const bool same_backend = backend == asked.backend;
        if (same_card && same_backend) continue;
        StandIn one{.tables = {.system = system, .backend = backend, .version = ""},
                    .move = {.card = card,
                             .doubt = std::hypot(card_doubt, same_backend ? 0 : kOtherFramework),
                             .host_launch = host_launch(asked.system, asked.backend) /
                                            host_launch(system, backend),
                             .text = fmt::format("rows of {} on {}", backend, system)}};
        one.distance = one.move.doubt + (same_card ? 0 : 0.01 + 0.1 * rates);
        found.push_back(std::move(one));
      }
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.distance < b.distance; });
    return found;
  }

  // A name that is in no table of anybody's is a mistake, not a question about what was not
  // measured.
  static Result<void> check_names(const Known& asked) {
    DSAPERF_TRY(perfdb::SystemsTree::check_backend(asked.tables.backend));
    for (const auto& dtype : {asked.kind.kv_dtype, asked.kind.gemm_dtype, asked.kind.fmha_dtype})
      DSAPERF_TRY(compatible::dtype_traits(dtype));
    return {};
  }

  // What `ask` says of the rows asked, else of the first tables that can stand in for them.
  template <typename Answer, typename Ask>
  Result<Answer> by_stages(Known& asked, const Ask& ask) {
    if (asked.opened == nullptr) {
      DSAPERF_TRY(check_names(asked));
      asked.opened = &open_stages(asked.tables);
      if (*asked.opened) asked.rows = &(*asked.opened)->kind(asked.kind);
    }
    auto& opened = *asked.opened;
    auto answer = opened ? ask(*opened, *asked.rows, nullptr)
                         : Result<Answer>(tl::unexpected(opened.error()));
    if (!answer && answer.error().code() == Errc::kNotFound) try_stand_ins(asked, ask, answer);
    return answer;
  }

  // `answer` stays the failure that it is where none can.
  template <typename Answer, typename Ask>
  void try_stand_ins(const Known& asked, const Ask& ask, Result<Answer>& answer) {
    const auto& [system, backend, version] = asked.tables;
    const auto figures = card(system);
    // A version that does not exist is a mistake, not a question about what was not measured.
    const auto backends = tree->backends(system);
    const bool has_backend =
        backends && std::find(backends->begin(), backends->end(), backend) != backends->end();
    if (!figures || (has_backend && !tree->resolve_version(system, backend, version))) return;
    for (const auto& stand_in : stand_ins(asked.tables, *figures)) {
      auto& opened = open_stages(stand_in.tables);
      if (!opened) continue;
      auto other = ask(*opened, opened->kind(asked.kind), &stand_in.move);
      if (!other) continue;
      answer = std::move(other);
      return;
    }
  }

  const Result<compatible::DsaLayer>& compatible_layer(Known& asked, perfdb::Phase phase) {
    auto& layer = asked.compatible[static_cast<std::size_t>(phase)];
    if (!layer) {
      auto& opened = open(asked.tables);
      layer = opened ? opened->layer(asked.kind, phase) : tl::unexpected(opened.error());
    }
    return *layer;
  }

  Result<LayerLatency> by_compatible(Known& asked, const LayerShape& shape) {
    const auto& layer = compatible_layer(asked, shape.phase);
    if (!layer) return tl::unexpected(layer.error());
    return layer->at(shape);
  }

  // Context parallelism is aiconfigurator's composition of measured kernels in both methods.
  bool has_stages(const LayerShape& shape) const {
    return method == Method::kStages && shape.context_parallel <= 1;
  }
};

LayerPredictor::LayerPredictor(std::shared_ptr<const perfdb::SystemsTree> tree, Method method)
    : state_(std::make_unique<State>()) {
  state_->tree = std::move(tree);
  state_->method = method;
}
LayerPredictor::LayerPredictor(LayerPredictor&&) noexcept = default;
LayerPredictor& LayerPredictor::operator=(LayerPredictor&&) noexcept = default;
LayerPredictor::~LayerPredictor() = default;

LayerPredictor::Layer LayerPredictor::layer(const Tables& tables, const LayerKind& kind) {
  return {*state_, state_->find(tables, kind)};
}

Result<LayerLatency> LayerPredictor::at(const Tables& tables, const LayerKind& kind,
                                        const LayerShape& shape) {
  return layer(tables, kind).at(shape);
}

Result<LayerLatency> LayerPredictor::Layer::at(const LayerShape& shape) const {
  if (!state_->has_stages(shape)) return state_->by_compatible(*known_, shape);
  return state_->by_stages<LayerLatency>(
      *known_, [&](stages::StageTables& tables, stages::StageTables::Kind& rows,
                   const stages::Move* move) { return tables.at(rows, shape, move); });
}

Result<stages::Explanation> LayerPredictor::explain(const Tables& tables, const LayerKind& kind,
                                                    const LayerShape& shape) {
  if (!state_->has_stages(shape))
    return fail(Errc::kUnsupported, "only the stage model explains its answers");
  return state_->by_stages<stages::Explanation>(
      state_->find(tables, kind),
      [&](stages::StageTables& opened, stages::StageTables::Kind& rows, const stages::Move* move) {
        return opened.explain(rows, shape, move);
      });
}

Result<Micros> LayerPredictor::peer_bound(const Tables& tables, const LayerKind& kind,
                                          const LayerShape& shape) {
  const auto& layer = state_->compatible_layer(state_->find(tables, kind), shape.phase);
  if (!layer) return tl::unexpected(layer.error());
  return Micros::from_millis(layer->bound(shape).ms());
}

Result<std::string> LayerPredictor::version(const Tables& tables) {
  const auto& opened = state_->open(tables);
  if (!opened) return tl::unexpected(opened.error());
  return opened->version();
}

}  // namespace dsaperf::predict
