#include "dsaperf/predict/layer_predictor.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dsaperf::predict {
namespace {

// Words of a key, apart by a character that no name has.
void append(std::string& key, std::initializer_list<std::string_view> words) {
  for (const auto word : words) {
    key += word;
    key += '\n';
  }
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

struct LayerPredictor::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  Method method = Method::kCompatible;
  std::unordered_map<std::string, Result<compatible::DsaTables>> tables;
  std::unordered_map<std::string, Result<compatible::DsaLayer>> layers;
  std::shared_ptr<stages::HyperparameterStore> store;
  std::unordered_map<std::string, Result<stages::StageTables>> stage_tables;
  std::map<std::string, std::map<std::string, double>> host_launches;  // by system
  std::string key;                                                     // kept for its memory
  Tables last_asked;                                                   // most questions repeat it
  Result<stages::StageTables>* last_opened = nullptr;

  Result<compatible::DsaTables>& open(const Tables& asked) {
    std::string name;
    append(name, {asked.system, asked.backend, asked.version});
    const auto found = tables.find(name);
    if (found != tables.end()) return found->second;
    return tables
        .emplace(std::move(name),
                 compatible::DsaTables::open(tree, asked.system, asked.backend, asked.version))
        .first->second;
  }

  Result<stages::StageTables>& open_stages(const Tables& asked) {
    if (last_opened != nullptr && asked == last_asked) return *last_opened;
    last_opened = &find_stages(asked);
    last_asked = asked;
    return *last_opened;
  }

  Result<stages::StageTables>& find_stages(const Tables& asked) {
    key.clear();
    append(key, {asked.system, asked.backend, asked.version});
    const auto found = stage_tables.find(key);
    if (found != stage_tables.end()) return found->second;
    if (!store)
      store = std::make_shared<stages::HyperparameterStore>(stages::HyperparameterStore::open());
    auto opened =
        stages::StageTables::open(tree, asked.system, asked.backend, asked.version, store);
    return stage_tables.emplace(key, std::move(opened)).first->second;
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

  // What `ask` says of the first tables that can stand in for those asked; `failure` where none
  // can.
  template <typename Answer, typename Ask>
  Result<Answer> by_stand_in(const Tables& asked, const Error& failure, const Ask& ask) {
    const auto figures = card(asked.system);
    // A version that does not exist is a mistake, not a question about what was not measured.
    const auto backends = tree->backends(asked.system);
    const bool has_backend =
        backends && std::find(backends->begin(), backends->end(), asked.backend) != backends->end();
    if (!figures ||
        (has_backend && !tree->resolve_version(asked.system, asked.backend, asked.version)))
      return tl::unexpected(failure);
    for (const auto& stand_in : stand_ins(asked, *figures)) {
      auto& opened = open_stages(stand_in.tables);
      if (!opened) continue;
      auto answer = ask(*opened, stand_in.move);
      if (answer) return answer;
    }
    return tl::unexpected(failure);
  }

  Result<compatible::DsaLayer>& layer(const Tables& asked, const LayerKind& kind,
                                      perfdb::Phase phase) {
    key.clear();
    append(key, {asked.system, asked.backend, asked.version, kind.architecture, kind.kv_dtype,
                 kind.fmha_dtype, kind.gemm_dtype, perfdb::name(phase)});
    const auto found = layers.find(key);
    if (found != layers.end()) return found->second;
    auto& opened = open(asked);
    auto made = opened ? opened->layer(kind, phase) : tl::unexpected(opened.error());
    return layers.emplace(key, std::move(made)).first->second;
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

Result<LayerLatency> LayerPredictor::at(const Tables& tables, const LayerKind& kind,
                                        const LayerShape& shape) {
  // Context parallelism is aiconfigurator's composition of measured kernels in both methods.
  if (state_->method == Method::kStages && shape.context_parallel <= 1) {
    auto& opened = state_->open_stages(tables);
    auto answer =
        opened ? opened->at(kind, shape) : Result<LayerLatency>(tl::unexpected(opened.error()));
    if (answer || answer.error().code() != Errc::kNotFound) return answer;
    return state_->by_stand_in<LayerLatency>(
        tables, answer.error(), [&](stages::StageTables& rows, const stages::Move& move) {
          return rows.at(kind, shape, &move);
        });
  }
  const auto& layer = state_->layer(tables, kind, shape.phase);
  if (!layer) return tl::unexpected(layer.error());
  return layer->at(shape);
}

Result<stages::Explanation> LayerPredictor::explain(const Tables& tables, const LayerKind& kind,
                                                    const LayerShape& shape) {
  if (state_->method != Method::kStages || shape.context_parallel > 1) {
    return fail(Errc::kUnsupported, "only the stage model explains its answers");
  }
  auto& opened = state_->open_stages(tables);
  auto answer = opened ? opened->explain(kind, shape)
                       : Result<stages::Explanation>(tl::unexpected(opened.error()));
  if (answer || answer.error().code() != Errc::kNotFound) return answer;
  return state_->by_stand_in<stages::Explanation>(
      tables, answer.error(), [&](stages::StageTables& rows, const stages::Move& move) {
        return rows.explain(kind, shape, &move);
      });
}

Result<Micros> LayerPredictor::peer_bound(const Tables& tables, const LayerKind& kind,
                                          const LayerShape& shape) {
  const auto& layer = state_->layer(tables, kind, shape.phase);
  if (!layer) return tl::unexpected(layer.error());
  return Micros::from_millis(layer->bound(shape).ms());
}

Result<std::string> LayerPredictor::version(const Tables& tables) {
  const auto& opened = state_->open(tables);
  if (!opened) return tl::unexpected(opened.error());
  return opened->version();
}

}  // namespace dsaperf::predict
