#include "dsaperf/predict/stages/left_out_weights.hpp"

namespace dsaperf::predict::stages {

const StageWeights& LeftOutWeights::without(const Slice& slice) {
  const auto [found, is_new] = slices_.try_emplace(slice);
  if (is_new) {
    found->second = part_.weights_without(
        [&](std::size_t row) { return slice.holds(part_.observations()[row].sizes); });
  }
  return found->second;
}

std::size_t LeftOutWeights::fold_of(std::size_t row) const {
  return row * kFolds / part_.observations().size();
}

const StageWeights& LeftOutWeights::without_fold(std::size_t fold) {
  auto& weights = folds_[fold];
  if (weights.terms.empty())
    weights = part_.weights_without([&](std::size_t row) { return fold_of(row) == fold; });
  return weights;
}

}  // namespace dsaperf::predict::stages
