#pragma once

#include "dsaperf/predict/stages/part_model.hpp"

#include <array>
#include <cstddef>
#include <map>

namespace dsaperf::predict::stages {

// Stage weights of a part fitted without some of its rows, each fit made once, when first asked
// for. The part must outlive it.
class LeftOutWeights {
 public:
  explicit LeftOutWeights(const PartModel& part) : part_(part) {}

  const StageWeights& without(const Slice& slice);

  // A fold: one eighth of the rows, next to each other in the order of their sizes.
  std::size_t fold_of(std::size_t row) const;
  const StageWeights& without_fold(std::size_t fold);

 private:
  static constexpr std::size_t kFolds = 8;

  const PartModel& part_;
  std::map<Slice, StageWeights> slices_;
  std::array<StageWeights, kFolds> folds_;  // no terms: not fitted yet
};

}  // namespace dsaperf::predict::stages
