#include "dsaperf/collect/plan.hpp"

#include "dsaperf/cost/testing/layers.hpp"
#include "dsaperf/cost/testing_card.hpp"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace dsaperf::collect {
namespace {

using cost::testing::card;

Axes single_axes(int heads) {
  return {.heads = {heads},
          .kv = {model::KvFormat::kBf16},
          .gemm = {model::WeightFormat::kFp8Block},
          .roles = {model::IndexerRole::kFull},
          .scores = {ScoreDistribution::kModelLike},
          .launches = {Launch::kGraph}};
}

std::size_t count(const std::vector<GridPoint>& grid, perfdb::Phase phase) {
  return static_cast<std::size_t>(
      std::ranges::count_if(grid, [&](const auto& point) { return point.phase == phase; }));
}

// The counts follow from the rule in plan.hpp: sum over batches of the lengths that keep the
// product within its limit.
TEST(GridTest, StandardHas110ContextAnd181GenerationPoints) {
  EXPECT_EQ(count(standard_grid(), perfdb::Phase::kContext), 110U);
  EXPECT_EQ(count(standard_grid(), perfdb::Phase::kGeneration), 181U);
}

TEST(GridTest, DeepHoldsStandardBothSidesOfTopkAndNoPointTwice) {
  const auto grid = deep_grid(2048);
  std::set<std::string> ids;
  for (const auto& point : grid) {
    const Case what{.phase = point.phase, .requests = point.requests, .heads = 1};
    EXPECT_TRUE(ids.insert(what.id()).second) << what.id();
  }
  for (const auto& point : standard_grid()) {
    EXPECT_TRUE(
        ids.contains(Case{.phase = point.phase, .requests = point.requests, .heads = 1}.id()));
  }
  for (const char* part : {"context/1x2047+0/", "context/1x2048+0/", "context/1x2049+0/",
                           "generation/1x1+2046/", "generation/1x1+2047/", "generation/1x1+2048/",
                           "context/1x4096+1048576/", "generation/8x4+32767/"}) {
    EXPECT_TRUE(std::ranges::any_of(ids, [&](const auto& id) { return id.starts_with(part); }))
        << part;
  }
}

TEST(GridTest, ReadsAUsersFile) {
  const auto grid = parse_grid(
      "context:\n  - {batch: [1, 2], new: [4096], past: [0, 1024]}\n"
      "generation:\n  - {batch: [32], past: [4095], q_len: [1, 2]}\n"
      "ragged:\n  - {phase: context, requests: ['1x4096+0', '8x1+8192']}\n");
  ASSERT_TRUE(grid) << grid.error().message();
  ASSERT_EQ(grid->size(), 7U);
  EXPECT_EQ(grid->back().requests.size(), 2U);
  EXPECT_EQ(grid->back().requests.back().past_tokens, 8192);
}

// "[1, 2, ..., n]"
std::string numbers(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 1);
  return fmt::format("[{}]", fmt::join(all, ", "));
}

// Each point beside every other took minutes.
TEST(GridTest, ReadsHundredsOfThousandsOfPointsInASecondAndEachOnce) {
  const auto list = fmt::format("{{batch: {}, past: {}}}", numbers(200), numbers(2000));
  const auto grid = parse_grid(fmt::format("generation: [{0}, {0}]", list));
  ASSERT_TRUE(grid) << grid.error().message();
  EXPECT_EQ(grid->size(), 400'000U);
}

TEST(GridTest, RefusesMoreThanMemoryHolds) {
  const auto grid =
      parse_grid(fmt::format("context:\n  - {{batch: {0}, new: {0}, past: {0}}}", numbers(2000)));
  ASSERT_FALSE(grid);
  EXPECT_EQ(grid.error().message(),
            "line 2: the grid would have 8000000000 points; at most 10000000 are planned");
}

TEST(GridTest, NamesTheLineAndKeyThatIsWrong) {
  for (const auto& [yaml, part] :
       {std::pair{"context:\n  - {batch: [1], neu: [4]}\n", "line 2: 'neu' is not known"},
        {"context:\n  - {batch: [1]}\n", "'new' is missing"},
        {"context:\n  - {batch: [0], new: [4]}\n", "from 1 on"},
        {"generation:\n  - {batch: [1], past: [x]}\n", "whole numbers"},
        {"ragged:\n  - {phase: context, requests: ['4096']}\n", "'4096' is not count x new + past"},
        {"contexts: []\n", "'contexts' is not known"},
        {"{}", "no point"},
        {"[1, 2", "line"}}) {
    const auto grid = parse_grid(yaml);
    ASSERT_FALSE(grid) << yaml;
    EXPECT_NE(grid.error().message().find(part), std::string::npos) << grid.error().message();
  }
}

TEST(PlanTest, LeavesOutWhatDoesNotFitAndSaysWhy) {
  const auto layer = cost::testing::deepseek_v32();
  const auto roomy = make_plan(standard_grid(), single_axes(16), layer, card(141));
  ASSERT_TRUE(roomy) << roomy.error().message();
  EXPECT_EQ(roomy->cases.size(), 291U);
  EXPECT_TRUE(roomy->left_out.empty());
  const auto small = make_plan(standard_grid(), single_axes(16), layer, card(8));
  ASSERT_TRUE(small);
  EXPECT_EQ(small->cases.size() + small->left_out.size(), 291U);
  ASSERT_FALSE(small->left_out.empty());
  EXPECT_NE(small->left_out.front().reason.find("GiB of test_card can be used"), std::string::npos);
  EXPECT_LE(small->peak_memory.gib(), 8);
}

// 2^20 cached tokens of 1152 + 132 bytes are 1.25 GiB: at least these must be counted.
TEST(PlanTest, MemoryCountsTheCachesOfEveryRequest) {
  const Case what{.phase = perfdb::Phase::kGeneration, .requests = {{32, 1, 32767}}, .heads = 16};
  const auto memory = memory_of(what, cost::testing::deepseek_v32());
  ASSERT_TRUE(memory);
  EXPECT_GE(memory->value, std::int64_t{32} * 32768 * (1152 + 132));
}

TEST(PlanTest, RefusesHeadsThatDoNotDivideTheModels) {
  const auto plan =
      make_plan(standard_grid(), single_axes(24), cost::testing::deepseek_v32(), card(141));
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message().find("24"), std::string::npos);
}

TEST(PlanTest, AValueThatStandsTwiceIsOneCase) {
  auto axes = single_axes(16);
  axes.heads = {16, 32, 16};
  const auto plan = make_plan(standard_grid(), axes, cost::testing::deepseek_v32(), card(141));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->cases.size() + plan->left_out.size(), 2U * 291U);
}

TEST(PlanTest, AxesMultiply) {
  auto axes = single_axes(16);
  axes.kv = {model::KvFormat::kBf16, model::KvFormat::kFp8};
  axes.heads = {8, 16, 128};
  const auto plan = make_plan(standard_grid(), axes, cost::testing::deepseek_v32(), card(141));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->cases.size(), 6 * 291U);
}

// What depends on the shape alone is made once for the layers that stand together.
TEST(PlanTest, CasesOfAShapeStandTogetherForAsManyLayersAsAreKept) {
  auto axes = single_axes(16);
  axes.heads = {8, 16, 32, 64, 128};
  axes.gemm = {model::WeightFormat::kBf16, model::WeightFormat::kFp8Block};
  axes.kv = {model::KvFormat::kBf16, model::KvFormat::kFp8};
  const auto plan = make_plan(standard_grid(), axes, cost::testing::deepseek_v32(), card(141));
  ASSERT_TRUE(plan);
  std::map<std::string, int> runs;  // of cases of a shape that stand side by side
  for (std::size_t i = 0; i < plan->cases.size(); ++i) {
    const auto shape = plan->cases[i].shape_text();
    if (i == 0 || plan->cases[i - 1].shape_text() != shape) ++runs[shape];
  }
  EXPECT_EQ(runs.size(), 291U);
  for (const auto& [shape, count] : runs) EXPECT_EQ(count, 2) << shape << ": of ten layers eight";
}

TEST(ShardTest, EveryShardGetsEveryAxis) {
  auto axes = single_axes(16);
  axes.kv = {model::KvFormat::kBf16, model::KvFormat::kFp8};
  const auto plan = make_plan(standard_grid(), axes, cost::testing::deepseek_v32(), card(141));
  ASSERT_TRUE(plan);
  std::size_t taken = 0;
  for (int i = 0; i < 2; ++i) {
    const auto part = taken_by({i, 2}, plan->cases, ShardBy::kCases);
    taken += part.size();
    const auto fp8 = std::ranges::count(part, model::KvFormat::kFp8, &Case::kv);
    EXPECT_NEAR(static_cast<double>(fp8), static_cast<double>(part.size()) / 2, 1);
  }
  EXPECT_EQ(taken, plan->cases.size());
}

TEST(ShardTest, ShardsPartitionAPlan) {
  for (std::size_t position = 0; position < 100; ++position) {
    int takers = 0;
    for (int i = 0; i < 7; ++i) takers += Shard{i, 7}.takes(position) ? 1 : 0;
    EXPECT_EQ(takers, 1);
  }
}

TEST(ShardTest, ByShapesKeepsTheAxesOfAShapeTogether) {
  auto axes = single_axes(16);
  axes.kv = {model::KvFormat::kBf16, model::KvFormat::kFp8};
  const auto plan = make_plan(standard_grid(), axes, cost::testing::deepseek_v32(), card(141));
  std::size_t taken = 0;
  std::set<std::string> shapes;
  for (int i = 0; i < 4; ++i) {
    std::set<std::string> own;
    for (const auto& what : taken_by({i, 4}, plan->cases, ShardBy::kShapes)) {
      ++taken;
      own.insert(what.shape_text());
    }
    for (const auto& shape : own) EXPECT_TRUE(shapes.insert(shape).second) << shape;
  }
  EXPECT_EQ(taken, plan->cases.size());
}

TEST(ShardTest, RefusesWhatIsNotAPart) {
  for (const char* text : {"", "1", "4/4", "-1/4", "1/0", "a/b", "1/2/3"}) {
    EXPECT_FALSE(parse_shard(text)) << text;
  }
  EXPECT_EQ(parse_shard("3/4")->index, 3);
}

TEST(ShardTest, FollowsSlurmsArrayWhereverItsNumbersStart) {
  const auto shard = shard_from_environment([](const char* name) -> std::string {
    const std::string_view asked = name;
    if (asked == "SLURM_ARRAY_TASK_ID") return "12";
    if (asked == "SLURM_ARRAY_TASK_MIN") return "10";
    if (asked == "SLURM_ARRAY_TASK_COUNT") return "4";
    return "";
  });
  ASSERT_TRUE(shard) << shard.error().message();
  EXPECT_EQ(shard->index, 2);
  EXPECT_EQ(shard->count, 4);
}

TEST(ShardTest, FollowsSlurmsTasksAndElseTakesAll) {
  const auto tasks = shard_from_environment([](const char* name) -> std::string {
    const std::string_view asked = name;
    if (asked == "SLURM_PROCID") return "1";
    if (asked == "SLURM_NTASKS") return "8";
    return "";
  });
  ASSERT_TRUE(tasks);
  EXPECT_EQ(tasks->index, 1);
  const auto none = shard_from_environment([](const char*) { return std::string(); });
  ASSERT_TRUE(none);
  EXPECT_EQ(none->count, 1);
}

}  // namespace
}  // namespace dsaperf::collect
