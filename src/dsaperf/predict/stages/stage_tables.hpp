#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::stages {

// How an answer came about, for people.
struct Explanation {
  struct Share {
    std::string stage;  // a stage's name, "launches" for the host's part
    Micros time;        // its part of the answer: of the stage model, scaled to the answer
  };
  struct Neighbour {
    LayerShape shape;
    Micros measured;
    double distance = 0;  // in length scales
  };
  std::string kernel_source;
  std::string regime;
  std::string version;           // of the rows that answered
  Micros stage_model;            // before the correction by what was measured near it
  double relative_variance = 0;  // 0: measured here, 1: nothing near
  std::vector<Share> stages;
  std::vector<Neighbour> nearest;
};

// DSA latencies of one system, backend and version by the stage model. Rows are read and a part is
// prepared when first asked for; parameters come from the store, fitted where it has none. Not safe
// to use from several threads.
class StageTables {
 public:
  static Result<StageTables> open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                  std::string_view system, std::string_view backend,
                                  std::string_view version,
                                  std::shared_ptr<HyperparameterStore> store);
  StageTables(StageTables&&) noexcept;
  StageTables& operator=(StageTables&&) noexcept;
  ~StageTables();

  const std::string& version() const;

  // A row at the point itself answers unless its neighbours contradict it (a warning then says so);
  // elsewhere the model does. Fails with kNotFound where no row is of the kind and regime.
  Result<LayerLatency> at(const LayerKind& kind, const LayerShape& shape);

  // Of the full layer's part (and the other where share is 0).
  Result<Explanation> explain(const LayerKind& kind, const LayerShape& shape);

 private:
  struct State;
  explicit StageTables(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dsaperf::predict::stages
