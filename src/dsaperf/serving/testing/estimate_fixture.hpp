#pragma once

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/serving/estimate.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace dsaperf::serving::testing {

// Estimates over AIConfigurator's tables; skipped without them.
class EstimateFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto systems = dsaperf::testing::systems_tree();
    if (!systems) GTEST_SKIP() << dsaperf::testing::kNoSystems;
    tree = std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*systems));
  }
  Result<Estimate> ask(const EstimateInputs& inputs, const std::string& model = "zai-org/GLM-5-FP8",
                       const std::string& system = "h200_sxm") {
    auto set =
        predict::compatible::OperatorSet::open(tree, system, std::string(name(inputs.engine)), "");
    return estimate(*model::load_model(model), *set, inputs);
  }
  static EstimateInputs tp8(double concurrency) {
    EstimateInputs inputs;
    inputs.layout = {.tp = 8, .moe_tp = 8};
    inputs.isl = 2048;
    inputs.osl = 256;
    inputs.concurrency = concurrency;
    return inputs;
  }

  std::shared_ptr<const perfdb::SystemsTree> tree;
};

}  // namespace dsaperf::serving::testing
