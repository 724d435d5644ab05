#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/op/layer_spec.hpp"

namespace dsaperf::op {

struct LayerChoice {
  int layer = -1;  // index in the model; -1: the typical one
  int heads = 0;   // of this rank; 0: all of the model's
  Projections projections = Projections::kBf16;
};

// The layer of a model that is to run. Fails with kUnsupported for layers that are not DSA or whose
// sizes no kernel here has (latent other than 512, rope other than 64, ...), and with
// kInvalidArgument for a layer or a head count that the model does not have.
Result<LayerSpec> layer_spec(const model::ModelSpec& model, const LayerChoice& choice);

// The plan that layer_spec() would take.
Result<const model::LayerPlan*> layer_plan(const model::ModelSpec& model, int layer);

}  // namespace dsaperf::op
