#include "dsaperf/kernels/topk.hpp"

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"
#include "dsaperf/kernels/testing/topk_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace dsaperf::kernels {
namespace {

using testing::distributions;
using testing::expected_positions;
using testing::rows_of;

constexpr std::int32_t kPoison = -77;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  std::vector<std::vector<float>> rows{};
  int topk = 2048;
  std::int64_t columns = 0;           // the longest row where 0
  std::int64_t stride_padding = 5;    // rows at every alignment
  std::vector<std::int32_t> start{};  // empty: 0
  bool with_end = true;
  sm90::TopkPlan plan{};  // threads 0: as topk chooses
};

void expect_exact(const Case& c, const std::string& what) {
  const auto rows = static_cast<std::int64_t>(c.rows.size());
  std::int64_t columns = c.columns;
  std::vector<std::int32_t> start(rows, 0);
  std::vector<std::int32_t> end(rows);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (!c.start.empty()) start[r] = c.start[r];
    end[r] = start[r] + static_cast<std::int32_t>(c.rows[r].size());
    if (c.columns == 0) columns = std::max<std::int64_t>(columns, end[r]);
  }
  const std::int64_t stride = columns + c.stride_padding;
  const std::int64_t out_stride = c.topk + 3;
  std::vector<float> scores(rows * stride, kInfinity);  // what is outside would win
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy(c.rows[r].begin(), c.rows[r].end(), scores.begin() + r * stride + start[r]);

  const auto check = [&](auto result) {
    EXPECT_TRUE(result.has_value()) << what << ": " << (result ? "" : result.error().message());
    return std::move(result).value();
  };
  const auto d_scores = check(gpu::DeviceArray<float>::copy_of(scores));
  const auto d_start = check(gpu::DeviceArray<std::int32_t>::copy_of(start));
  const auto d_end = check(gpu::DeviceArray<std::int32_t>::copy_of(end));
  const auto stream = check(gpu::Stream::create());
  TopkParams params{.scores = d_scores.data(),
                    .start = c.start.empty() ? nullptr : d_start.data(),
                    .end = c.with_end ? d_end.data() : nullptr,
                    .rows = rows,
                    .columns = columns,
                    .topk = c.topk,
                    .scores_stride = stride,
                    .indices_stride = out_stride};
  std::vector<std::int32_t> first_run;
  for (int run = 0; run < 2; ++run) {
    // A row of canaries before and after.
    auto out = check(gpu::DeviceArray<std::int32_t>::copy_of(
        std::vector<std::int32_t>((rows + 2) * out_stride, kPoison)));
    params.indices = out.data() + out_stride;
    if (c.plan.threads == 0) {
      ASSERT_TRUE(topk(params, nullptr, 0, stream.get()).has_value()) << what;
    } else {
      const auto workspace =
          check(gpu::DeviceArray<std::uint8_t>::uninitialized(topk_plan_workspace(params, c.plan)));
      ASSERT_TRUE(topk_planned(params, c.plan, workspace.data(), workspace.size(), stream.get())
                      .has_value())
          << what;
    }
    const auto synchronized = stream.synchronize();
    ASSERT_TRUE(synchronized.has_value()) << what << ": " << synchronized.error().message();
    auto got = check(out.to_host());
    if (run == 1) {
      EXPECT_EQ(got, first_run) << what << ": two runs differ";
      break;
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto begin = got.begin() + (r + 1) * out_stride;
      const std::vector<std::int32_t> row(begin, begin + c.topk);
      const auto expected = expected_positions(c.rows[r].data(), std::ssize(c.rows[r]), c.topk);
      const auto [at, wanted] = std::mismatch(row.begin(), row.end(), expected.begin());
      ASSERT_TRUE(at == row.end()) << what << ", row " << r << ": entry " << at - row.begin()
                                   << " is " << *at << ", expected " << *wanted;
      for (int i = c.topk; i < out_stride; ++i)
        ASSERT_EQ(begin[i], kPoison) << what << ", row " << r << ": wrote past its list";
    }
    for (std::int64_t i = 0; i < out_stride; ++i) {
      ASSERT_EQ(got[i], kPoison) << what << ": wrote before the lists";
      ASSERT_EQ(got[(rows + 1) * out_stride + i], kPoison) << what << ": wrote after the lists";
    }
    first_run = std::move(got);
  }
}

TEST(TopkGpuTest, IsExactOnEveryDistributionAtEveryKindOfLength) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& distribution : distributions()) {
    expect_exact({.rows = rows_of(distribution, {0, 1, 2047, 2048, 2049, 4096, 5000})},
                 distribution.name + ", short");
    expect_exact({.rows = rows_of(distribution, {8192, 8193, 20000, 32768, 40001})},
                 distribution.name + ", long");
  }
}

TEST(TopkGpuTest, IsExactWhateverThePlan) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  for (const int threads : {256, 512, 1024}) {
    for (const int cluster : {1, 2, 4, 8, 16}) {
      for (const auto& d : all) {
        expect_exact(
            {.rows = rows_of(d, {30000, 1, 9000, 2300, 33333}),
             .plan = {.threads = threads, .cluster = cluster, .capacity = 6144, .window = 65536}},
            d.name + ", threads " + std::to_string(threads) + ", cluster " +
                std::to_string(cluster));
      }
    }
  }
}

// Each kernel once and little of it: what racecheck, a hundred times slower, watches.
TEST(TopkGpuTest, TakesEachPlanOnFewRows) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  const std::vector<std::pair<std::int64_t, sm90::TopkPlan>> columns_and_plan = {
      {9000, {.threads = 256, .cluster = 1, .capacity = 2080, .window = 4096}},
      {9000, {.threads = 512, .cluster = 4, .capacity = 6144, .window = 65536}},
      {8192, {.threads = 512, .in_registers = 4, .spread = true, .cluster = 4}},
      {4096, {.threads = 256, .in_registers = 16}},
      {4096, {.threads = 512, .in_registers = 8, .alone = true}},
      {9000, {.threads = 1024, .in_registers = 16, .spread = true, .cluster = 1, .segments = 3}}};
  for (const std::size_t d : {0, 6})
    for (const auto& [columns, plan] : columns_and_plan)
      expect_exact({.rows = rows_of(all[d], {columns, 2300, 1}), .columns = columns, .plan = plan},
                   all[d].name + ", " + std::to_string(columns) + " columns, cluster " +
                       std::to_string(plan.cluster));
}

TEST(TopkGpuTest, IsExactWithRowsSpreadOverAClustersRegisters) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& d : distributions()) {
    for (const auto& [threads, values] : {std::pair{512, 4}, std::pair{512, 8}, std::pair{512, 16},
                                          std::pair{1024, 8}, std::pair{1024, 16}}) {
      for (const int cluster : {1, 4, 16}) {
        const std::int64_t most = std::int64_t{threads} * values * cluster;
        expect_exact({.rows = rows_of(d, {most, most / 2 + 1, std::min<std::int64_t>(most, 2049),
                                          2048, 1, 0, most - 3}),
                      .columns = most,
                      .plan = {.threads = threads,
                               .in_registers = values,
                               .spread = true,
                               .cluster = cluster,
                               .alone = cluster == 4}},
                     d.name + ", " + std::to_string(threads) + " x " + std::to_string(values) +
                         ", cluster " + std::to_string(cluster));
      }
    }
  }
}

// Segments of every length: whole ones, a last one of less than topk or of nothing, the row's end
// in the first; starts that leave 16-byte boundaries; the most positions that are selected from.
TEST(TopkGpuTest, IsExactWithRowsInSegments) {
  DSAPERF_REQUIRE_GPU();
  const auto segments = [](int count, int cluster) {
    return sm90::TopkPlan{
        .threads = 1024, .in_registers = 16, .spread = true, .cluster = cluster, .segments = count};
  };
  for (const auto& d : distributions()) {
    expect_exact({.rows = rows_of(d, {49140, 32769, 34000, 16384, 2049, 2048, 1, 0, 49149}),
                  .start = {0, 1, 2, 3, 0, 1, 2, 3, 3},
                  .plan = segments(3, 1)},
                 d.name + ", 3 segments");
    expect_exact({.rows = rows_of(d, {65536, 60000}), .topk = 4096, .plan = segments(16, 2)},
                 d.name + ", 16 segments");
  }
  const auto longest = sm90::plan_segments(1 << 20);
  ASSERT_TRUE(longest.has_value());
  for (const std::size_t d : {0, 1, 6})
    expect_exact({.rows = rows_of(distributions()[d], {1 << 20}), .plan = *longest},
                 distributions()[d].name + ", a million");
}

TEST(TopkGpuTest, RunsByDefaultWhereTheWorkspaceIsTooSmallForSegments) {
  DSAPERF_REQUIRE_GPU();
  const auto plan = sm90::plan_segments(1 << 20);
  ASSERT_TRUE(plan.has_value());
  const auto scores = gpu::DeviceArray<float>::uninitialized(1 << 20).value();
  auto indices = gpu::DeviceArray<std::int32_t>::uninitialized(2048).value();
  const TopkParams params{.scores = scores.data(),
                          .indices = indices.data(),
                          .rows = 1,
                          .columns = 1 << 20,
                          .topk = 2048,
                          .scores_stride = 1 << 20,
                          .indices_stride = 2048};
  EXPECT_TRUE(topk(params, nullptr, 0, nullptr).has_value());
  const auto refused = topk_planned(params, *plan, nullptr, 0, nullptr);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kInvalidArgument);
}

TEST(TopkGpuTest, IsExactWithShortRowsInRegisters) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& d : distributions()) {
    for (const auto& plan : {sm90::TopkPlan{.threads = 256, .in_registers = 16},
                             sm90::TopkPlan{.threads = 512, .in_registers = 8, .alone = true},
                             sm90::TopkPlan{.threads = 512, .in_registers = 16},
                             sm90::TopkPlan{.threads = 1024, .in_registers = 8}}) {
      for (const int topk : {64, 2048}) {
        expect_exact(
            {.rows = rows_of(d, {4096, 4095, 2049, 0, 1, 3001, 65}), .topk = topk, .plan = plan},
            d.name + ", threads " + std::to_string(plan.threads) + ", topk " +
                std::to_string(topk));
      }
    }
  }
}

TEST(TopkGpuTest, IsExactWhenCandidatesDoNotFitAndWhenTheBitmapTakesSeveralWindows) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& d : distributions()) {
    for (const int cluster : {1, 4}) {
      expect_exact({.rows = rows_of(d, {30000, 9000, 2300}),
                    .plan = {.threads = 256, .cluster = cluster, .capacity = 2080, .window = 4096}},
                   d.name + ", small capacity and window, cluster " + std::to_string(cluster));
    }
  }
}

TEST(TopkGpuTest, TakesEveryTopk) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  for (const int topk : {1, 64, 100, 512, 1024, 4096}) {
    for (const std::size_t d : {0, 1, 6, 10}) {
      expect_exact({.rows = rows_of(all[d], {63, 64, 65, 3000, 17000, 50000}), .topk = topk},
                   all[d].name + ", topk " + std::to_string(topk));
    }
  }
}

TEST(TopkGpuTest, SelectsFromRowsOfAMillion) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  for (const std::size_t d : {0, 1, 4, 8}) {
    expect_exact({.rows = rows_of(all[d], {1048576})}, all[d].name + ", one row");
  }
  expect_exact({.rows = rows_of(all[0], {1048576, 1500000}), .topk = 4096}, "over a million");
}

TEST(TopkGpuTest, SelectsFromManyRows) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  for (const std::size_t d : {0, 1, 6}) {
    expect_exact({.rows = rows_of(all[d], std::vector<std::int64_t>(300, 4096))},
                 all[d].name + ", 300 x 4096");
    expect_exact({.rows = rows_of(all[d], std::vector<std::int64_t>(150, 9001))},
                 all[d].name + ", 150 x 9001");
  }
}

TEST(TopkGpuTest, CountsPositionsFromTheStartOfARow) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  expect_exact({.rows = rows_of(all[0], {3000, 9000, 20, 12345}), .start = {1, 2, 3, 7}},
               "with start");
}

TEST(TopkGpuTest, TakesAllColumnsWithoutLimits) {
  DSAPERF_REQUIRE_GPU();
  const auto all = distributions();
  expect_exact({.rows = rows_of(all[0], {3000, 3000}), .stride_padding = 0, .with_end = false},
               "no limits");
}

TEST(TopkGpuTest, CutsLimitsToTheColumns) {
  DSAPERF_REQUIRE_GPU();
  // The row says 5000 and the call 4000 columns: what lies beyond is not read.
  Case c{.rows = rows_of(distributions()[0], {5000}), .columns = 4000};
  const auto whole = c.rows[0];
  c.rows[0].resize(4000);
  expect_exact(c, "end beyond columns");
}

TEST(TopkGpuTest, RefusesATopkBeyondItsMost) {
  TopkParams params{.indices = reinterpret_cast<std::int32_t*>(16), .rows = 1, .topk = 4097};
  const auto result = topk_planned(params, sm90::plan_topk(1, 0, 4097, 132), nullptr, 0, nullptr);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace dsaperf::kernels
