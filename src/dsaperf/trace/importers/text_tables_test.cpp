#include "dsaperf/trace/importers/text_tables.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/trace/importers/kernel_csv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

using testing::HasSubstr;

Result<Timeline> read(std::string_view text) {
  const auto csv = as_csv(text, form_of(text));
  if (!csv) return tl::unexpected(csv.error());
  return read_kernel_csv(CsvReader::over(*csv).value());
}

void expect_two_kernels(std::string_view text, TextForm form) {
  EXPECT_EQ(form_of(text), form);
  const auto timeline = read(text);
  ASSERT_TRUE(timeline) << timeline.error().message();
  const auto all = totals(*timeline);
  EXPECT_EQ(all.kernels, 6) << text;
  EXPECT_EQ(all.total_ns, 2e6) << text;
  ASSERT_EQ(timeline->sums.size(), 2U);
  EXPECT_EQ(timeline->names[timeline->sums[0].name], "void a<int, 2>(int)");
  EXPECT_EQ(timeline->names[timeline->sums[1].name], "\xC2\xB5_kernel, b\xE2\x80\xA6");
}

TEST(TextTablesTest, ReadsWhatNsysStatsPrintsWithoutAFormat) {
  expect_two_kernels(
      "Generating SQLite file x.sqlite from x.nsys-rep\n"
      "Processing [x.sqlite] with [/opt/nsys/reports/cuda_gpu_kern_sum.py]... \n\n"
      " ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):\n\n"
      " Time (%)  Total Time (ns)  Instances  Avg (ns)   Min (ns)  Max (ns)         Name         \n"
      " --------  ---------------  ---------  ---------  --------  --------  -------------------\n"
      "     60.0        1,200,000          2  600,000.0   500,000   700,000  void a<int, 2>(int)\n"
      "     40.0          800,000          4  200,000.0   150,000   250,000  \xC2\xB5_kernel, "
      "b\xE2\x80\xA6\n\n"
      " ** CUDA API Summary (cuda_api_sum):\n\n"
      " Time (%)  Total Time (ns)  Num Calls  Avg (ns)         Name      \n"
      " --------  ---------------  ---------  --------  ----------------\n"
      "    100.0      9,000,000          3      3.0  cudaLaunchKernel\n",
      TextForm::kColumns);
}

TEST(TextTablesTest, ReadsTabsAndRowsOfJson) {
  expect_two_kernels(
      "Time (%)\tTotal Time (us)\tInstances\tMin (us)\tMax (us)\tName\r\n"
      "60.0\t1200.0\t2\t500\t700\tvoid a<int, 2>(int)\r\n"
      "40.0\t800.0\t4\t150\t250\t\xC2\xB5_kernel, b\xE2\x80\xA6\r\n",
      TextForm::kTabs);
  expect_two_kernels(
      "[\n  {\"Time (%)\": 60.0, \"Total Time (ns)\": 1200000, \"Instances\": \"2\", \"Min (ns)\": "
      "1, \"Max (ns)\": 2, \"Name\": \"void a<int, 2>(int)\"},\n"
      "  {\"Time (%)\": 40.0, \"Total Time (ns)\": 800000, \"Instances\": 4, \"Min (ns)\": 1, "
      "\"Max "
      "(ns)\": 2, \"Name\": \"\\u00b5_kernel, b\\u2026\"}\n]\n",
      TextForm::kJsonRows);
}

TEST(TextTablesTest, NamesTheRowThatIsNone) {
  EXPECT_THAT(read("[{\"Instances\": 1}, 7]").error().message(), HasSubstr("row 2"));
  EXPECT_FALSE(read("[{\"Instances\": 1, \"Name\": \"cut"));
}

TEST(TextTablesTest, OtherTextsAreLeftAsTheyAre) {
  for (const std::string_view text :
       {"Time (%),Total Time (ns),Instances,Name\n1,2,3,a\n",
        "Name,Duration(us),Start Time(us)\na,1\t,2\t\n", "[{\"ph\": \"X\", \"name\": \"a\"}]",
        "{\"traceEvents\": []}", "a - b\n---\n", ""}) {
    EXPECT_EQ(form_of(text), TextForm::kCsv) << text;
  }
}

}  // namespace
}  // namespace dsaperf::trace
