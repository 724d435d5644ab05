#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/layer_predictor.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace dsaperf::predict {

// A kind of layer of one predictor, which several threads may ask: one after the other.
class SharedLayer {
 public:
  struct Predictor {
    explicit Predictor(LayerPredictor of) : predictor(std::move(of)) {}
    std::mutex mutex;
    LayerPredictor predictor;
  };

  SharedLayer(std::shared_ptr<Predictor> of, const Tables& tables, const LayerKind& kind)
      : of_(std::move(of)), layer_(of_->predictor.layer(tables, kind)) {}

  Result<LayerLatency> at(const LayerShape& shape) const {
    const std::scoped_lock lock(of_->mutex);
    return layer_.at(shape);
  }

 private:
  std::shared_ptr<Predictor> of_;
  LayerPredictor::Layer layer_;
};

}  // namespace dsaperf::predict
