#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/stage_bound.hpp"

#include <array>
#include <string>
#include <vector>

namespace dsaperf::predict::stages {

// A kind of layer on a card by the terms of the stage model and their usual efficiencies, no row of
// a table asked: cheap, and the same for every kernel. Safe to use from several threads.
class UsualLayer {
 public:
  // Fails where the system's file lacks a rate that the kind needs.
  static Result<UsualLayer> make(const perfdb::SystemFile& system, const LayerKind& kind,
                                 perfdb::Phase phase);

  struct Share {
    std::string stage;  // a stage's name; "launches": gaps between kernels
    double ms = 0;
    StageBound bound;
  };
  // `layer_ms`, of a table or a model, by stage: each has its bound, and what the layer takes
  // beyond them is shared out as the terms have it. Sums to `layer_ms`.
  std::vector<Share> split(const LayerShape& shape, double layer_ms) const;

 private:
  struct Stages {
    std::array<double, model::kStageCount + 1> usual_ms{};  // the last: launches
    std::array<StageBound, model::kStageCount> bound{};
  };
  Stages stages_of(const LayerShape& shape) const;

  perfdb::Phase phase_ = perfdb::Phase::kContext;
  // By regime, then with an indexer of its own or without.
  std::array<std::array<Setting, 2>, 2> settings_;
};

}  // namespace dsaperf::predict::stages
