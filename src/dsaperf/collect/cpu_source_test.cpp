#include "dsaperf/collect/cpu_source.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::collect {
namespace {

TEST(CpuSourceTest, MeasuresEveryScoreDistributionOfAModel) {
  auto source = cpu_source(model::load_model("zai-org/GLM-5").value(),
                           {.distinct_tokens = 4096,
                            .stopping = {.least = 3, .most = 3, .settle_seconds = 0},
                            .version = "1"});
  ASSERT_TRUE(source) << source.error().message();
  EXPECT_EQ((*source)->info().method, "cpu-1");
  EXPECT_THAT((*source)->info().device, testing::HasSubstr("thread"));
  for (const auto scores :
       {ScoreDistribution::kModelLike, ScoreDistribution::kFlat, ScoreDistribution::kPeaked}) {
    const Case what{.phase = perfdb::Phase::kGeneration,
                    .requests = {{1, 1, 2100}},
                    .heads = 8,
                    .scores = scores,
                    .launch = Launch::kEager};
    const auto result = (*source)->measure(what);
    ASSERT_TRUE(result) << name(scores) << ": " << result.error().message();
    EXPECT_GT(result->warm.median.value, 0);
    EXPECT_EQ(result->kernel_source, "cpu-1");
  }
}

TEST(CpuSourceTest, ThisMachineHasRatesAndMemory) {
  const auto machine = this_machine();
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_GT(machine->hbm_bytes_per_s, 1e8);
  EXPECT_GT(machine->peak(cost::MathFormat::kBf16).value_or(0), 1e8);
  EXPECT_GT(machine->hbm_capacity.gib(), 0.1);
}

}  // namespace
}  // namespace dsaperf::collect
