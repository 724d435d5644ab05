#include "dsaperf/trace/export.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/importers/chrome_trace.hpp"
#include "dsaperf/trace/importers/kernel_csv.hpp"

#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

Timeline two_gpus() {
  Timeline timeline;
  timeline.devices = {"NVIDIA H200", "NVIDIA H200"};
  timeline.origin_ns = 1000;
  const auto add = [&](std::vector<Launch>& list, std::string_view name, double start,
                       std::int32_t device) {
    Launch launch;
    launch.name = timeline.names.intern(name);
    launch.start_ns = start;
    launch.duration_ns = 250;
    launch.device = device;
    launch.stream = 7;
    list.push_back(launch);
  };
  add(timeline.launches, "_Z1fIiEvPT_", 0, 0);
  add(timeline.launches, "g<int, \"x\">(int)", 500, 1);
  add(timeline.launches, "g<int, \"x\">(int)", 900, 1);
  add(timeline.copies, "[CUDA memcpy]", 1500, 0);
  add(timeline.fills, "[CUDA memset]", 1800, 0);
  timeline.ranges.push_back(
      {.name = timeline.names.intern("step"), .start_ns = 0, .end_ns = 700, .thread = 3});
  return timeline;
}

void expect_same_work(const Timeline& timeline) {
  const auto all = totals(timeline);
  EXPECT_EQ(all.kernels, 3);
  EXPECT_EQ(all.total_ns, 750);
  EXPECT_EQ(all.unique_names, 2U);
}

TEST(ExportTest, OurReadersReadTheNsysShapedTables) {
  const auto summary = read_kernel_csv(CsvReader::over(nsys_summary_csv(two_gpus())).value());
  ASSERT_TRUE(summary) << summary.error().message();
  expect_same_work(*summary);
  EXPECT_EQ(summary->names[0], "g<int, \"x\">(int)");
  EXPECT_EQ(summary->names[1], "void f<int>(int*)");
  const std::string text = nsys_trace_csv(two_gpus());
  const auto trace = read_kernel_csv(CsvReader::over(text).value());
  ASSERT_TRUE(trace) << trace.error().message();
  expect_same_work(*trace);
  EXPECT_EQ(totals(*trace).span_ns, 1150);
  EXPECT_EQ(totals(*trace).devices.at(1).kernels, 2);
  EXPECT_EQ(trace->copies.size(), 1U);
  EXPECT_EQ(trace->fills.size(), 1U);
}

TEST(ExportTest, OurReaderReadsTheChromeTrace) {
  const std::string text = chrome_trace_json(two_gpus());
  const auto trace = read_chrome_trace(ByteReader::over(text).value());
  ASSERT_TRUE(trace) << trace.error().message();
  expect_same_work(*trace);
  EXPECT_EQ(totals(*trace).span_ns, 1150);
  EXPECT_EQ(totals(*trace).devices.at(1).total_ns, 500);
  EXPECT_EQ(trace->ranges.size(), 1U);
  EXPECT_EQ(trace->devices.size(), 2U);
}

}  // namespace
}  // namespace dsaperf::trace
