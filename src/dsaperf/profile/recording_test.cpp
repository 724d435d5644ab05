#include "dsaperf/profile/recording.hpp"

#include "dsaperf/profile/activity_log.hpp"
#include "dsaperf/profile/launch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>

namespace dsaperf::profile {
namespace {

using ::testing::HasSubstr;

// What a process writes into its log.
std::string log_of(const std::function<void(ActivityLogWriter&)>& write) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* file = open_memstream(&text, &size);
  ActivityLogWriter writer(file);
  write(writer);
  std::fclose(file);
  std::string result(text, size);
  std::free(text);
  return result;
}

Activity kernel(std::uint64_t start, std::uint64_t end, std::uint32_t correlation,
                std::string_view name) {
  Activity activity;
  activity.start_ns = start;
  activity.end_ns = end;
  activity.stream = 7;
  activity.correlation = correlation;
  activity.name = name;
  return activity;
}

Activity call(std::uint64_t start, std::uint64_t end, std::uint32_t correlation) {
  Activity activity;
  activity.kind = Activity::Kind::kCall;
  activity.start_ns = start;
  activity.end_ns = end;
  activity.correlation = correlation;
  activity.thread = 11;
  return activity;
}

Activity range(Activity::Kind kind, std::uint64_t time, std::uint32_t id,
               std::string_view name = "") {
  Activity activity;
  activity.kind = kind;
  activity.start_ns = activity.end_ns = time;
  activity.range = id;
  activity.thread = 11;
  activity.name = name;
  return activity;
}

constexpr std::uint64_t kNow = 1790857026000000000;  // a clock of today does not fit a double

std::string one_process(std::int64_t pid, std::string_view uuid) {
  return log_of([&](ActivityLogWriter& log) {
    log.begin(pid, "python serve.py\nwith a newline");
    log.device(0, uuid, "NVIDIA H200");
    log.write(range(Activity::Kind::kRangeStart, kNow, 1, "step"));
    log.write(range(Activity::Kind::kRangeStart, kNow + 5, 2, "stage/topk"));
    log.write(call(kNow + 10, kNow + 20, 42));
    log.write(range(Activity::Kind::kRangeEnd, kNow + 30, 2));
    log.write(kernel(kNow + 100, kNow + 111, 42, "topk\\kernel"));
    auto node = kernel(kNow + 120, kNow + 125, 43, "graph_kernel");
    node.graph_node = 99;
    log.write(node);
    log.write(range(Activity::Kind::kRangeEnd, kNow + 200, 1));
    auto overhead = call(kNow, kNow + 8, 0);
    overhead.kind = Activity::Kind::kOverhead;
    log.write(overhead);
    log.end(kNow + 300);
  });
}

ProcessRecording read(const std::string& text) {
  auto recording = read_activity_log(ByteReader::over(text).value());
  EXPECT_TRUE(recording) << recording.error().message();
  return *std::move(recording);
}

TEST(ActivityLogTest, WhatAProcessWroteIsRead) {
  const std::string text = one_process(4711, "ab12");
  const auto recording = read(text);
  EXPECT_EQ(recording.process, 4711);
  EXPECT_EQ(recording.command, "python serve.py\nwith a newline");
  EXPECT_TRUE(recording.ended);
  EXPECT_EQ(recording.overhead_ns, 8);
  ASSERT_EQ(recording.timeline.launches.size(), 2U);
  const auto& first = recording.timeline.launches[0];
  EXPECT_EQ(recording.timeline.names[first.name], "topk\\kernel");
  EXPECT_EQ(first.duration_ns, 11);
  EXPECT_EQ(recording.timeline.launches[1].graph_node, 99);
}

TEST(ActivityLogTest, KernelsAreTiedToTheRangeAroundTheirLaunch) {
  const std::string text = one_process(4711, "ab12");
  const auto recording = read(text);
  const auto& first = recording.timeline.launches[0];
  ASSERT_NE(first.range, trace::kNoName);
  EXPECT_EQ(recording.timeline.names[first.range], "stage/topk");
  EXPECT_EQ(first.launched_ns - first.start_ns, -80);
  EXPECT_EQ(recording.timeline.ranges.size(), 2U);
}

TEST(ActivityLogTest, ALogCutAnywhereGivesWhatItHolds) {
  const std::string text = one_process(4711, "ab12");
  for (std::size_t size = 30; size < text.size(); size += 7) {
    const std::string part = text.substr(0, size);
    const auto recording = read_activity_log(ByteReader::over(part).value());
    ASSERT_TRUE(recording) << size << recording.error().message();
    EXPECT_FALSE(recording->ended);
  }
}

TEST(ActivityLogTest, DamageIsNamedByLine) {
  const auto message = [](std::string text) {
    text = "dsaperf.activity.1\np 1 x\n" + text + "\n";
    const auto recording = read_activity_log(ByteReader::over(text).value());
    return recording ? std::string("read") : recording.error().message();
  };
  EXPECT_THAT(message("k 1 2"), HasSubstr("line 3"));
  EXPECT_THAT(message("k 1 2 0 7 1 0 5"), HasSubstr("line 3"));  // name 5 is not known
  EXPECT_THAT(message("n 7 out of order"), HasSubstr("line 3"));
  EXPECT_THAT(message("g 99999999999 u n"), HasSubstr("line 3"));
  EXPECT_EQ(message("? a letter of later days"), "read");
  EXPECT_FALSE(read_activity_log(ByteReader::over("dsaperf.activity.2\n").value()));
  EXPECT_FALSE(read_activity_log(ByteReader::over("").value()));
}

TEST(MergedTest, ProcessesShareOneClockAndGpusAreToldByUuid) {
  const std::string a = one_process(1, "aa");
  const std::string b = one_process(2, "bb");
  const std::string c = one_process(3, "aa");
  std::vector<ProcessRecording> recordings;
  for (const auto* text : {&a, &b, &c}) recordings.push_back(read(*text));
  const auto timeline = merged(std::move(recordings));
  EXPECT_EQ(timeline.launches.size(), 6U);
  EXPECT_EQ(timeline.devices.size(), 2U);
  EXPECT_EQ(trace::totals(timeline).devices.at(0).kernels, 4);
  EXPECT_EQ(trace::totals(timeline).devices.at(1).kernels, 2);
  EXPECT_EQ(timeline.origin_ns, static_cast<std::int64_t>(kNow));
  EXPECT_TRUE(timeline.warnings.empty());
}

TEST(MergedTest, KilledProcessesAndLostActivitiesAreNamed) {
  const std::string text = log_of([](ActivityLogWriter& log) {
    log.begin(5, "server");
    log.write(kernel(kNow, kNow + 1, 1, "k"));
    log.dropped(12);
  });
  std::vector<ProcessRecording> recordings;
  recordings.push_back(read(text));
  const auto timeline = merged(std::move(recordings));
  ASSERT_EQ(timeline.warnings.size(), 2U);
  EXPECT_THAT(timeline.warnings[0], HasSubstr("lost 12"));
  EXPECT_THAT(timeline.warnings[1], HasSubstr("killed"));
}

// A layer as `dsaperf run` marks it: a warm-up pass, then a timed one with its stages.
std::string layer_log(bool timed) {
  return log_of([&](ActivityLogWriter& log) {
    log.begin(5, "dsaperf run");
    log.write(range(Activity::Kind::kRangeStart, kNow, 1, "stage/topk"));
    log.write(call(kNow + 1, kNow + 2, 1));
    log.write(range(Activity::Kind::kRangeEnd, kNow + 3, 1));
    if (timed) log.write(range(Activity::Kind::kRangeStart, kNow + 10, 2, "timed"));
    log.write(range(Activity::Kind::kRangeStart, kNow + 11, 3, "stage/topk"));
    log.write(call(kNow + 12, kNow + 13, 2));
    log.write(range(Activity::Kind::kRangeEnd, kNow + 14, 3));
    if (timed) log.write(range(Activity::Kind::kRangeEnd, kNow + 15, 2));
    // The device is behind: both run when the host has left every range.
    log.write(kernel(kNow + 20, kNow + 30, 1, "warm_up"));
    log.write(kernel(kNow + 30, kNow + 40, 2, "steady"));
    log.end(kNow + 50);
  });
}

TEST(KeepTimedPassesTest, WarmUpIsLeftOutByWhatLaunchedIt) {
  const std::string text = layer_log(true);
  std::vector<ProcessRecording> recordings;
  recordings.push_back(read(text));
  auto timeline = merged(std::move(recordings));
  keep_timed_passes(timeline);
  ASSERT_EQ(timeline.launches.size(), 1U);
  EXPECT_EQ(timeline.names[timeline.launches[0].name], "steady");
  EXPECT_EQ(timeline.names[timeline.launches[0].range], "stage/topk");
  EXPECT_TRUE(timeline.warnings.empty());
}

TEST(KeepTimedPassesTest, WithoutTimedPassesAWarningSaysWhatIsThere) {
  const std::string text = layer_log(false);
  std::vector<ProcessRecording> recordings;
  recordings.push_back(read(text));
  auto timeline = merged(std::move(recordings));
  keep_timed_passes(timeline);
  EXPECT_EQ(timeline.launches.size(), 2U);
  ASSERT_EQ(timeline.warnings.size(), 1U);
  EXPECT_THAT(timeline.warnings[0], HasSubstr("warm-up"));
}

TEST(RunProfiledTest, TwoProgramsOfOneProcessAreTwoRecordings) {
  const auto logs = std::filesystem::path(::testing::TempDir()) / "profiled_exec";
  std::filesystem::remove_all(logs);
  std::filesystem::create_directories(logs);
  for (const char* program : {"first", "second"}) {
    std::FILE* file = create_activity_log(logs.native(), 77);
    ASSERT_NE(file, nullptr);
    ActivityLogWriter log(file);
    log.begin(77, program);
    log.write(kernel(kNow, kNow + 1, 1, program));
    std::fclose(file);
  }
  EXPECT_EQ(read_activity_log(logs / "77.activity")->command, "first");
  EXPECT_EQ(read_activity_log(logs / "77.2.activity")->command, "second");
}

// What the injection library recorded on an H200: a torch program that replays a CUDA graph ten
// times and runs ten pairs of kernels by themselves, and its spawned child, which does the same.
TEST(RecordedRunTest, GraphNodesRangesAndTheChildOfATorchProgramAreThere) {
  std::vector<ProcessRecording> recordings;
  for (const char* name : {"torch_h200_461.activity", "torch_h200_486.activity"}) {
    auto recording = read_activity_log(
        std::filesystem::path(DSAPERF_SOURCE_DIR "/src/dsaperf/profile/testing") / name);
    ASSERT_TRUE(recording) << recording.error().message();
    EXPECT_TRUE(recording->ended);
    EXPECT_GT(recording->overhead_ns, 0);
    recordings.push_back(*std::move(recording));
  }
  const auto timeline = merged(std::move(recordings));
  EXPECT_EQ(timeline.devices, std::vector<std::string>{"NVIDIA H200"});
  std::size_t nodes = 0;
  std::size_t eager = 0;
  for (const auto& launch : timeline.launches) {
    nodes += launch.graph_node != 0;
    eager += launch.range != trace::kNoName && timeline.names[launch.range] == "eager";
    EXPECT_FALSE(std::isnan(launch.launched_ns)) << timeline.names[launch.name];
  }
  EXPECT_EQ(timeline.launches.size(), 124U);
  EXPECT_EQ(nodes, 2U * 10 * 3);
  EXPECT_EQ(eager, 2U * 10 * 2);
  EXPECT_EQ(timeline.ranges.size(), 2U * 3);
}

TEST(RunProfiledTest, TheCommandSeesTheInjectionAndItsLogsAreRead) {
  const auto logs = std::filesystem::path(::testing::TempDir()) / "profiled_run";
  std::filesystem::remove_all(logs);
  const auto run =
      run_profiled({"/bin/sh", "-c",
                    "test \"$CUDA_INJECTION64_PATH\" = \"$NVTX_INJECTION64_PATH\" || exit 9; "
                    "printf 'dsaperf.activity.1\\np 77 sh\\nn 0 k\\nk 10 20 0 7 1 0 0\\nz 30\\n' > "
                    "\"$DSAPERF_PROFILE_DIR/77.activity\"; exit 4"},
                   "libdsaperf_inject.so", logs);
  ASSERT_TRUE(run) << run.error().message();
  EXPECT_EQ(run->exit_code, 4);
  ASSERT_EQ(run->processes.size(), 1U);
  EXPECT_EQ(run->processes[0].process, 77);
  EXPECT_EQ(run->processes[0].timeline.launches.size(), 1U);
}

TEST(RunProfiledTest, ACommandThatIsNotThereIsNamed) {
  const auto run = run_profiled({"/nonexistent/command"}, "x.so", ::testing::TempDir());
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code(), Errc::kNotFound);
  EXPECT_THAT(run.error().message(), HasSubstr("/nonexistent/command"));
}

}  // namespace
}  // namespace dsaperf::profile
