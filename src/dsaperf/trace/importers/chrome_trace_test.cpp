#include "dsaperf/trace/importers/chrome_trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace dsaperf::trace {
namespace {

using testing::HasSubstr;

Result<Timeline> read(std::string_view text) {
  return read_chrome_trace(ByteReader::over(text).value());
}

std::string kernel(std::string_view name, double ts, double dur, std::string_view args = "") {
  return "{\"ph\": \"X\", \"cat\": \"kernel\", \"name\": \"" + std::string(name) +
         "\", \"pid\": 0, \"tid\": 7, \"ts\": " + std::to_string(ts) +
         ", \"dur\": " + std::to_string(dur) + ", \"args\": {" + std::string(args) + "}}";
}

TEST(ChromeTraceTest, ReadsKernelsCopiesAndFills) {
  const auto timeline = read(
      "{\"schemaVersion\": 1, \"deviceProperties\": [{\"id\": 0, \"name\": \"NVIDIA H200\"}], "
      "\"traceEvents\": [" +
      kernel("a", 4605152288103.116, 2.5, "\"device\": 3, \"stream\": 9") +
      ",{\"ph\":\"X\",\"cat\":\"gpu_memcpy\",\"name\":\"m\",\"ts\":1,\"dur\":1},"
      "{\"ph\":\"X\",\"cat\":\"gpu_memset\",\"name\":\"m\",\"ts\":1,\"dur\":1},"
      "{\"ph\":\"M\",\"name\":\"process_name\"}], \"traceName\": \"x\"}");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(timeline->source.events, 4);
  EXPECT_EQ(timeline->launches.size(), 1U);
  EXPECT_EQ(timeline->copies.size(), 1U);
  EXPECT_EQ(timeline->fills.size(), 1U);
  EXPECT_EQ(timeline->launches[0].device, 3);
  EXPECT_EQ(timeline->launches[0].stream, 9);
  EXPECT_EQ(timeline->devices[0], "NVIDIA H200");
  EXPECT_EQ(timeline->format, Format::kChromeTrace);
}

TEST(ChromeTraceTest, OrderOfKeysAndLetterCaseDoNotMatter) {
  const auto timeline = read(
      "[{\"args\": {\"stream\": 4, \"device\": 2}, \"dur\": 1.5, \"name\": \"k\", \"ts\": 10, "
      "\"cat\": \"Kernel\", \"ph\": \"X\"}]");
  ASSERT_TRUE(timeline);
  ASSERT_EQ(timeline->launches.size(), 1U);
  EXPECT_EQ(timeline->launches[0].device, 2);
  EXPECT_EQ(timeline->launches[0].duration_ns, 1500);
}

TEST(ChromeTraceTest, EventsWithoutACategoryCountInProcessesNamedAfterAGpu) {
  const auto timeline = read(
      "[{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":\"2\",\"args\":{\"name\":\"GPU2\"}},"
      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":\"77\",\"args\":{\"name\":\"GPUDirect\"}},"
      "{\"pid\":\"77\",\"tid\":\"1\",\"name\":\"hipLaunchKernel\",\"ts\":\"8\",\"dur\":\"1\","
      "\"ph\":\"X\"},"
      "{\"pid\":\"2\",\"tid\":\"5\",\"name\":\"Cijk_Ailk\",\"ts\":\"10\",\"dur\":\"2.5\",\"ph\":"
      "\"X\","
      "\"args\":{\"desc\":\"\"}},"
      "{\"pid\":\"2\",\"tid\":\"5\",\"name\":\"CopyHostToDevice\",\"ts\":\"14\",\"dur\":\"1\","
      "\"ph\":\"X\"},"
      "{\"pid\":\"2\",\"tid\":\"5\",\"ts\":\"15\",\"dur\":\"1\",\"ph\":\"X\"}]");
  ASSERT_TRUE(timeline) << timeline.error().message();
  ASSERT_EQ(timeline->launches.size(), 1U);
  EXPECT_EQ(timeline->launches[0].device, 2);
  EXPECT_EQ(timeline->launches[0].stream, 5);
  EXPECT_EQ(timeline->launches[0].duration_ns, 2500);
  EXPECT_EQ(timeline->copies.size(), 1U);
}

TEST(ChromeTraceTest, OperatorsAndLaunchTimesAreLinked) {
  const auto timeline = read(
      "[{\"ph\":\"X\",\"cat\":\"cpu_op\",\"name\":\"aten::topk\",\"pid\":1,\"tid\":1,\"ts\":0,"
      "\"dur\":90,"
      "\"args\":{\"External id\":5,\"Input type\":[\"float\",\"Scalar\"],\"Input "
      "Dims\":[[1,4099],[]],"
      "\"Concrete Inputs\":[\"\",\"2048\"]}},"
      "{\"ph\":\"X\",\"cat\":\"cpu_op\",\"name\":\"aten::inner\",\"pid\":1,\"tid\":1,\"ts\":10,"
      "\"dur\":20,"
      "\"args\":{\"External id\":6}},"
      "{\"ph\":\"X\",\"cat\":\"cuda_runtime\",\"name\":\"cudaLaunchKernel\",\"pid\":1,\"tid\":1,"
      "\"ts\":12,"
      "\"dur\":3,\"args\":{\"External id\":6,\"correlation\":77}}," +
      kernel("k", 50, 1, "\"External id\": 6, \"correlation\": 77") + "]");
  ASSERT_TRUE(timeline);
  const auto& launch = timeline->launches.at(0);
  EXPECT_EQ(launch.launched_ns, 15000);
  EXPECT_EQ(timeline->names[launch.op], "aten::topk float Scalar [1,4099] []  2048");
}

TEST(ChromeTraceTest, BadEventsAreCountedNotRead) {
  const auto timeline =
      read("[" + kernel("good", 1, 2.5) +
           ",{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"text\",\"ts\":4,\"dur\":\"1.5\"}"
           ",{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"negative\",\"ts\":4,\"dur\":-2}"
           ",{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"none\",\"ts\":4}"
           ",{\"ph\":\"X\",\"cat\":\"kernel\",\"ts\":4,\"dur\":1}"
           ",{\"ph\":\"X\",\"cat\":\"kernel\",\"name\":\"never\",\"ts\":NaN,\"dur\":1}]");
  ASSERT_TRUE(timeline);
  EXPECT_EQ(timeline->launches.size(), 2U);
  EXPECT_EQ(timeline->bad_events, 4);
  EXPECT_THAT(timeline->warnings.back(), HasSubstr("4 GPU events"));
}

TEST(ChromeTraceTest, ValuesThatAreNoJsonAreNamedWhereNotNeeded) {
  const auto timeline = read("[" + kernel("k", 1, 2, "\"occupancy\": NaN, \"stream\": 3") + "]");
  ASSERT_TRUE(timeline);
  EXPECT_EQ(timeline->launches.at(0).stream, 3);
  EXPECT_THAT(timeline->warnings.at(0), HasSubstr("NaN"));
}

TEST(ChromeTraceTest, AnArrayNeedNotBeClosedButAnEventMustBe) {
  const auto open = read("[" + kernel("k", 1, 2) + ",\n");
  ASSERT_TRUE(open);
  EXPECT_THAT(open->warnings.at(0), HasSubstr("not closed"));
  EXPECT_THAT(read("[" + kernel("k", 1, 2) + ",{\"ph\":\"X").error().message(), HasSubstr("cut"));
  EXPECT_THAT(read("{\"traceEvents\":[" + kernel("k", 1, 2) + ",").error().message(),
              HasSubstr("cut"));
}

TEST(ChromeTraceTest, OtherJsonIsRefused) {
  EXPECT_FALSE(read("{}"));
  EXPECT_FALSE(read("{\"traceEvents\": {}}"));
  EXPECT_FALSE(read("7"));
  EXPECT_FALSE(read("{\"a\" 1}"));
}

TEST(ChromeTraceTest, NamesWithEscapesAndBracketsSurviveBufferSeams) {
  // Longer than the buffer, with what could be taken for the end of a value.
  std::string text = "[";
  const std::string name = "f<{[\\\"]}>(\\\\)";
  for (int i = 0; i < 40000; ++i) text += (i > 0 ? "," : "") + kernel(name, i, 1);
  const auto timeline = read(text + "]");
  ASSERT_TRUE(timeline) << timeline.error().message();
  EXPECT_EQ(timeline->launches.size(), 40000U);
  EXPECT_EQ(timeline->names[timeline->launches[39999].name], "f<{[\"]}>(\\)");
}

}  // namespace
}  // namespace dsaperf::trace
