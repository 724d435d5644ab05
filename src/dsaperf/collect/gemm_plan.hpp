#pragma once

#include "dsaperf/collect/plan.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/cost/stage_cost.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <cstdint>
#include <vector>

// The matrix products of a model beside attention, whose projections are stages of its layers:
// router, shared experts, dense MLPs, logits, each as a rank of a tensor-parallel group has it.
namespace dsaperf::collect {

struct GemmAxes {
  std::vector<std::int64_t> tokens;          // rows of x
  std::vector<model::WeightFormat> formats;  // of experts and MLPs; router and logits are bf16
  std::vector<Launch> launches;
};

// 1 ... 32,768, 25 of them.
std::vector<std::int64_t> standard_tokens();
// Those that the points of a grid have new in all, each once, ascending.
std::vector<std::int64_t> tokens_of(const std::vector<GridPoint>& grid);

// Every shape of the model with 1 ... 16 ranks at each count of tokens, a shape's together, since
// its weights are made once. Fails with kUnsupported for a model without a mixture of experts or
// shared experts.
Result<Plan> make_gemm_plan(const model::ModelSpec& model, const GemmAxes& axes,
                            const cost::SystemSpec& system);

// FLOPs and bytes of the product alone: of fp8 weights x and its scales are read quantised, what
// quantising moves is not counted.
cost::StageCost gemm_cost(const GemmSizes& sizes, model::WeightFormat format);

}  // namespace dsaperf::collect
