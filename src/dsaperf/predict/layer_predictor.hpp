#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/stage_tables.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dsaperf::predict {

enum class Method {
  kStages,      // a model of the stages, corrected by the measurements near the question
  kCompatible,  // aiconfigurator 0.12's own answers
};
std::string_view name(Method method);
std::optional<Method> method_from_name(std::string_view name);

// Which tables are asked. `version`: "" or a slot's name ("current", "next") or a number.
struct Tables {
  std::string system;
  std::string backend;
  std::string version;
  bool operator==(const Tables&) const = default;
};

// Answers for any layer on any system of a tree. Tables are read and prepared when a question first
// needs them and kept; a question about the same kind of layer then costs a fifth of a microsecond
// inside the measured range and under one outside. Not safe to use from several threads.
class LayerPredictor {
 public:
  LayerPredictor(std::shared_ptr<const perfdb::SystemsTree> tree, Method method);
  LayerPredictor(LayerPredictor&&) noexcept;
  LayerPredictor& operator=(LayerPredictor&&) noexcept;
  ~LayerPredictor();

  // A kind of layer by the tables that answer for it, their names looked up once: for a loop over
  // shapes. Good as long as the predictor, or the one that it is moved to.
  class Layer;
  Layer layer(const Tables& tables, const LayerKind& kind);

  // The compatible method fails with kNotFound where the tables named cannot answer: never another
  // backend's or version's number. The stage model then moves the rows nearest to the question
  // (another format, card or framework) by the ratio of the stages, and says "modelled", from what,
  // and a wider interval. A system may be one that only data/systems knows.
  Result<LayerLatency> at(const Tables& tables, const LayerKind& kind, const LayerShape& shape);

  // aiconfigurator's bound at the same point.
  Result<Micros> peer_bound(const Tables& tables, const LayerKind& kind, const LayerShape& shape);

  // How the stage model came to its answer (docs/predict.md); kUnsupported for the compatible
  // method.
  Result<stages::Explanation> explain(const Tables& tables, const LayerKind& kind,
                                      const LayerShape& shape);

  // The version that answers for `tables`.
  Result<std::string> version(const Tables& tables);

 private:
  struct Known;
  struct State;
  std::unique_ptr<State> state_;
};

class LayerPredictor::Layer {
 public:
  // As LayerPredictor::at.
  Result<LayerLatency> at(const LayerShape& shape) const;

 private:
  friend class LayerPredictor;
  Layer(State& state, Known& known) : state_(&state), known_(&known) {}

  State* state_;
  Known* known_;
};

}  // namespace dsaperf::predict
