#include "dsaperf/bench/tune.hpp"

#include "dsaperf/bench/cases.hpp"

#include <gtest/gtest.h>

#include <random>

namespace dsaperf::bench {
namespace {

using kernels::TunedKernel;
using kernels::TunedShape;
using kernels::Variant;

const Card kCard{.device = "NVIDIA H200", .sm_count = 132, .throttled = {}};

TunedShape topk(std::int64_t rows, std::int64_t columns) {
  return {.kernel = TunedKernel::kTopk, .rows = rows, .columns = columns};
}

Timing timing(const TunedShape& shape, Variant variant, double cold, double warm,
              double spread = 0.01) {
  return {.shape = shape,
          .variant = variant,
          .cold = {cold},
          .warm = {warm},
          .spread = spread,
          .right = true};
}

TEST(MakeTableTest, TakesTheFastestVariantThatIsRight) {
  const auto shape = topk(1, 32768);
  std::vector<Timing> timings = {
      timing(shape, Variant::kDefault, 16, 12), timing(shape, Variant::kSpread512x4, 12, 7),
      timing(shape, Variant::kSpread512x8, 11, 8), timing(shape, Variant::kSpread512x16, 5, 3)};
  timings[3].right = false;
  const auto table = make_table(kCard, "abc", timings);
  ASSERT_EQ(table.entries.size(), 1U);
  EXPECT_EQ(table.entries[0].variant, Variant::kSpread512x4);
  EXPECT_EQ(table.entries[0].variant_us, 7);
  EXPECT_EQ(table.entries[0].default_us, 12);
  EXPECT_EQ(table.sm_count, 132);
}

TEST(MakeTableTest, KeepsTheDefaultWithinTheNoiseAndWhereOneTimeIsWorse) {
  const auto shape = topk(1, 32768);
  const auto entries = [&](const Timing& other) {
    return make_table(kCard, "", std::vector{timing(shape, Variant::kDefault, 16, 12), other})
        .entries.size();
  };
  EXPECT_EQ(entries(timing(shape, Variant::kSpread512x4, 15, 11, 0.2)), 0U);
  EXPECT_EQ(entries(timing(shape, Variant::kSpread512x4, 15.9, 11.95)), 0U);
  EXPECT_EQ(entries(timing(shape, Variant::kSpread512x4, 18, 6)), 0U);
  EXPECT_EQ(entries(timing(shape, Variant::kSpread512x4, 15, 11)), 1U);
}

TEST(MakeTableTest, AVariantThatIsSlowerOnTiedRowsIsNotChosen) {
  const auto shape = topk(128, 4096);
  const auto on_ties = [&](Variant variant, double warm) {
    auto tied = timing(shape, variant, 10, warm);
    tied.values = Values::kMostlyZero;
    return tied;
  };
  std::vector<Timing> timings = {
      timing(shape, Variant::kDefault, 9, 5.9), on_ties(Variant::kDefault, 5.4),
      timing(shape, Variant::kSpread512x8, 9, 5.3), on_ties(Variant::kSpread512x8, 10.6)};
  EXPECT_TRUE(make_table(kCard, "", timings).entries.empty());
  timings[3] = on_ties(Variant::kSpread512x8, 5.4);
  const auto table = make_table(kCard, "", timings);
  ASSERT_EQ(table.entries.size(), 1U);
  EXPECT_EQ(table.entries[0].variant_us, 5.3);
  timings.pop_back();  // not measured on ties
  EXPECT_TRUE(make_table(kCard, "", timings).entries.empty());
}

TEST(MakeTableTest, NeedsTheDefaultsTime) {
  EXPECT_TRUE(make_table(kCard, "", std::vector{timing(topk(1, 4096), Variant::kSpread512x4, 1, 1)})
                  .entries.empty());
}

TEST(MakeTableTest, ASizeSpeaksUpToHalfwayToTheNext) {
  std::vector<Timing> timings;
  for (const std::int64_t rows : {1, 4, 16}) {
    timings.push_back(timing(topk(rows, 32768), Variant::kDefault, 16, 12));
    timings.push_back(timing(topk(rows, 32768), Variant::kSpread512x4, 12, 7));
  }
  timings.push_back(timing(topk(1, 131072), Variant::kDefault, 16, 12));
  const auto table = make_table(kCard, "", timings);
  ASSERT_EQ(table.entries.size(), 3U);
  EXPECT_EQ(table.entries[0].rows_from, 1);
  EXPECT_EQ(table.entries[0].rows_to, 2);
  EXPECT_EQ(table.entries[1].rows_from, 3);
  EXPECT_EQ(table.entries[1].rows_to, 8);
  EXPECT_EQ(table.entries[2].rows_from, 9);
  EXPECT_EQ(table.entries[2].rows_to, 32);
  EXPECT_EQ(table.entries[0].columns_from, 16385);
  EXPECT_EQ(table.entries[0].columns_to, 65536);
}

TEST(MakeTableTest, PrefillGoesOnAsAtItsLargestNumberOfTokens) {
  std::vector<Timing> timings;
  for (const std::int64_t tokens : {1024, 4096}) {
    const TunedShape shape{
        .kernel = TunedKernel::kSparsePrefill, .heads = 16, .rows = tokens, .columns = 2048};
    timings.push_back(timing(shape, Variant::kDefault, 16, 12));
    timings.push_back(timing(shape, Variant::kFewHeads, 12, 7));
  }
  const auto table = make_table(kCard, "", timings);
  ASSERT_EQ(table.entries.size(), 2U);
  EXPECT_EQ(table.entries[0].rows_to, 2048);
  const TunedShape longer{
      .kernel = TunedKernel::kSparsePrefill, .heads = 16, .rows = 65536, .columns = 2048};
  EXPECT_EQ(table.choose(longer), Variant::kFewHeads);
}

TEST(MakeTableTest, ChoosesAtEveryShapeWhatWasMeasuredThereAndWritesAFileThatIsRead) {
  std::mt19937 engine(5);
  std::vector<Timing> timings;
  for (const TunedShape& shape : shapes())
    for (const Variant variant : kernels::variants_of(shape, 132))
      timings.push_back(timing(shape, variant, 10 + static_cast<double>(engine() % 100),
                               10 + static_cast<double>(engine() % 100)));
  const auto read = kernels::parse_tuning(kernels::to_json(make_table(kCard, "abc", timings)));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_GT(read->entries.size(), 20U);
  const auto time_of = [&](const TunedShape& shape, Variant variant) {
    for (const Timing& each : timings)
      if (each.variant == variant && label(each.shape) == label(shape) &&
          each.shape.kernel == shape.kernel)
        return each.cold.value * each.warm.value;
    return 0.0;
  };
  for (const TunedShape& shape : shapes()) {
    const Variant chosen = read->choose(shape);
    EXPECT_LE(time_of(shape, chosen), time_of(shape, Variant::kDefault)) << label(shape);
  }
}

TEST(ShapesTest, AreDistinctAndDemandSomething) {
  std::set<std::string> seen;
  for (const TunedShape& shape : shapes()) {
    EXPECT_TRUE(seen.insert(std::string(name(shape.kernel)) + label(shape)).second) << label(shape);
    EXPECT_GT(demand_of(shape).bytes.value, 0);
  }
}

}  // namespace
}  // namespace dsaperf::bench
