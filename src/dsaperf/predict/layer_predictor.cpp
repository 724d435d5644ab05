#include "dsaperf/predict/layer_predictor.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include <initializer_list>
#include <unordered_map>
#include <utility>

namespace dsaperf::predict {
namespace {

// Words of a key, apart by a character that no name has.
void append(std::string& key, std::initializer_list<std::string_view> words) {
  for (const auto word : words) {
    key += word;
    key += '\n';
  }
}

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
  std::string key;  // kept for its memory

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
    if (!opened) return tl::unexpected(opened.error());
    return opened->at(kind, shape);
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
  if (!opened) return tl::unexpected(opened.error());
  return opened->explain(kind, shape);
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
