#include "dsaperf/integrate/integration.hpp"

#include "dsaperf/core/file.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <system_error>

namespace dsaperf::integrate {
namespace {

// Answers each command by its first word with a document that the test sets, and counts them.
class FakeRunner : public CommandRunner {
 public:
  Result<Ended> run(const std::vector<std::string>& words) override {
    lines.push_back(shell_line(words));
    if (const auto failing = failures.find(words[0]); failing != failures.end()) {
      return Ended{.exit_code = 1, .errors = "warning: x\nerror: " + failing->second + "\n"};
    }
    const auto found = answers.find(words[0]);
    return Ended{.output = found == answers.end() ? "{}" : found->second};
  }

  std::vector<std::string> lines;
  std::map<std::string, std::string> answers;
  std::map<std::string, std::string> failures;
};

class IntegrationTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() /
             ("dsaperf_integration_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    write("config.json", "{}");
    options.config = (folder / "config.json").native();
    options.directory = folder / "out";
    options.systems = {"h200_sxm"};
    runner.answers["analyze"] =
        R"({"name": "some/Model", "facts": {"q_heads": 64, "index_topk": 512}})";
    runner.answers["run"] =
        R"({"device": "cpu", "stages": [{"name": "topk", "time_us": 1, "passed": true}], "check": {"passed": true}})";
  }
  void TearDown() override {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
  }
  Outcome run() {
    runner.lines.clear();
    auto outcome = integrate(options, runner, {});
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().message());
    return outcome ? *std::move(outcome) : Outcome{};
  }
  bool ran(std::string_view start) const {
    return std::any_of(runner.lines.begin(), runner.lines.end(),
                       [&](const std::string& line) { return line.starts_with(start); });
  }

  std::filesystem::path folder;
  Options options;
  FakeRunner runner;
};

TEST_F(IntegrationTest, WritesThePageTheDocumentAndTheTables) {
  const auto outcome = run();
  for (const char* name : {"report.html", "report.md", "report.json", "aiconfigurator.md",
                           "tables/run_stages.csv", "documents/analyze.json", "state.json"}) {
    EXPECT_TRUE(std::filesystem::exists(options.directory / name)) << name;
  }
  EXPECT_EQ(outcome.page, options.directory / "report.html");
  EXPECT_EQ(outcome.reused, 0U);
}

TEST_F(IntegrationTest, ASecondRunRunsNothing) {
  const auto first = run();
  const auto second = run();
  EXPECT_TRUE(runner.lines.empty()) << runner.lines.front();
  EXPECT_EQ(second.done, 0U);
  EXPECT_EQ(second.reused, first.done);
  EXPECT_EQ(second.text, first.text);
}

TEST_F(IntegrationTest, WhatWasMeasuredIsNotMeasuredAgain) {
  options.gpu = options.collect = true;
  std::filesystem::create_directories(options.directory);
  write("out/layer.json.gz", "what profile records");
  run();
  EXPECT_TRUE(ran("collect"));
  std::filesystem::create_directories(options.directory / "collected");  // as collect leaves it
  EXPECT_EQ(run().done, 0);
}

TEST_F(IntegrationTest, AChangedModelIsRunAgain) {
  run();
  write("config.json", R"({"hidden_size": 1})");
  run();
  EXPECT_TRUE(ran("analyze"));
  EXPECT_TRUE(ran("run"));
  EXPECT_FALSE(ran("db ls")) << "the tables do not depend on the model";
}

TEST_F(IntegrationTest, AnotherProgramRunsEverythingAgain) {
  const auto first = run();
  options.environment = "another";
  EXPECT_EQ(run().done, first.done);
}

TEST_F(IntegrationTest, ADamagedDocumentIsMadeAgain) {
  run();
  std::ofstream(options.directory / "documents/run.json") << "cut";
  run();
  EXPECT_TRUE(ran("run"));
  EXPECT_FALSE(ran("analyze"));
}

TEST_F(IntegrationTest, ADamagedStateIsAnEmptyOne) {
  const auto first = run();
  std::ofstream(options.directory / "state.json") << "{\"format\": 7, \"steps\": [";
  EXPECT_EQ(run().done, first.done);
}

TEST_F(IntegrationTest, ASkippedPhaseRunsNothingAndKeepsWhatWasThere) {
  options.skipped = {"run"};
  auto outcome = run();
  EXPECT_FALSE(ran("run"));
  EXPECT_NE(outcome.text.find("Not known"), std::string::npos);
  options.skipped = {};
  run();
  options.skipped = {"run"};
  outcome = run();
  EXPECT_FALSE(ran("run"));
  EXPECT_NE(outcome.text.find("Yes: 1 of 1 stages"), std::string::npos);
}

TEST_F(IntegrationTest, APhaseAfterASkippedOneIsDone) {
  options.skipped = {"run", "predict"};
  run();
  const auto text = read_file(options.directory / "report.json", Bytes{1 << 24});
  ASSERT_TRUE(text);
  std::map<std::string, std::string> states;
  const auto document = nlohmann::json::parse(*text);
  for (const auto& phase : document["phases"]) {
    states[phase["name"]] = phase["state"];
  }
  EXPECT_EQ(states["run"], "skipped");
  EXPECT_EQ(states["align"], "done");
  EXPECT_EQ(states["collect"], "done");
}

TEST_F(IntegrationTest, AFailureIsNamedAndRememberedAndTheRestGoesOn) {
  runner.failures["run"] = "no such layer";
  auto outcome = run();
  ASSERT_FALSE(outcome.failures.empty());
  EXPECT_EQ(outcome.failures.front(), "run: no such layer");
  EXPECT_TRUE(ran("sweep"));
  outcome = run();
  EXPECT_FALSE(ran("run"));
  EXPECT_FALSE(outcome.failures.empty());
}

TEST_F(IntegrationTest, AModelThatCannotBeReadFailsTheWhole) {
  runner.failures["analyze"] = "config.json: not JSON";
  const auto outcome = integrate(options, runner, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), "analyze: config.json: not JSON");
}

TEST_F(IntegrationTest, AnEndlessConfigIsTheCommandsToRefuse) {
  options.config = "/dev/zero";
  runner.failures["analyze"] = "too long";
  EXPECT_FALSE(integrate(options, runner, {}));
}

TEST_F(IntegrationTest, ARecordingThatIsNotThereIsAnErrorBeforeAnythingRuns) {
  options.reference = (folder / "served.sqlite").native();
  const auto outcome = integrate(options, runner, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message(), options.reference + ": no such file");
  EXPECT_FALSE(ran("analyze"));
}

TEST_F(IntegrationTest, FreshForgets) {
  const auto first = run();
  options.fresh = true;
  EXPECT_EQ(run().done, first.done);
}

TEST_F(IntegrationTest, TokensBeyondTopkAreRun) {
  run();
  EXPECT_TRUE(
      ran("run " + options.config + " --batch 1 --new 4 --past 768 --heads 16 --device cpu"));
}

TEST_F(IntegrationTest, BoundsAreOfTheCacheThatTheFastestTableServes) {
  runner.answers["query"] =
      R"({"measured": [{"backend": "a", "kv_cache_dtype": "fp8", "latency_us": 3},
                       {"backend": "b", "kv_cache_dtype": "bfloat16", "latency_us": 2}]})";
  run();
  EXPECT_TRUE(ran("query " + options.config +
                  " --stages --system h200_sxm --heads 16 --new 4096 --kv bfloat16 --json"));
}

TEST_F(IntegrationTest, AReferenceIsShownAndAlignedWithTheMock) {
  write("served.json", "{}");
  write("layer.json", "{}");
  options.reference = (folder / "served.json").native();
  run();
  EXPECT_TRUE(ran("trace show " + options.reference));
  EXPECT_FALSE(ran("align"));
  options.mock = (folder / "layer.json").native();
  run();
  EXPECT_TRUE(ran("align " + options.mock + " " + options.reference));
}

TEST_F(IntegrationTest, ALayoutThatMissesTheLimitIsSimulatedWithFewerRequests) {
  options.ttft_limit_ms = 100;
  runner.answers["sweep"] = R"({"candidates": [{"backend": "sglang", "concurrency": 8, "tp": 8}]})";
  runner.answers["estimate"] = R"({"ttft_ms": 200, "tpot_ms": 1})";
  run();
  for (const char* size : {"8", "4", "2", "1"}) {
    EXPECT_TRUE(std::any_of(runner.lines.begin(), runner.lines.end(), [&](const auto& line) {
      return line.find(std::string("--concurrency ") + size + " ") != std::string::npos;
    })) << size;
  }
}

TEST_F(IntegrationTest, ALayoutOverTheShippedTablesIsSimulatedOverThem) {
  const auto named = [&] {
    run();
    const auto line = std::find_if(runner.lines.begin(), runner.lines.end(),
                                   [](const auto& each) { return each.starts_with("estimate"); });
    return line != runner.lines.end() && line->find("--backend sglang") != std::string::npos;
  };
  runner.answers["sweep"] =
      R"({"candidates": [{"backend": "sglang", "version": "0.5.14", "concurrency": 8}]})";
  EXPECT_TRUE(named());
  options.fresh = true;
  runner.answers["sweep"] =
      R"({"candidates": [{"backend": "sglang", "version": "shipped", "concurrency": 8}]})";
  EXPECT_FALSE(named()) << "tables of sglang need not be there";
}

TEST_F(IntegrationTest, AnUnknownPhaseIsAnError) {
  options.skipped = {"guess"};
  EXPECT_FALSE(integrate(options, runner, {}));
}

TEST(ShellLineTest, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_line({"db", "loo", "--table", "a b", "it's", ""}),
            "db loo --table 'a b' 'it'\\''s' ''");
}

TEST(ProcessRunnerTest, GivesOutputErrorsAndExitCode) {
  ProcessRunner runner("/bin/sh");
  const auto ended = runner.run({"-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->output, "out\n");
  EXPECT_EQ(ended->errors, "err\n");
  EXPECT_EQ(ended->exit_code, 3);
  EXPECT_EQ(runner.run({"-c", "kill -9 $$"})->exit_code, 128 + 9);
  EXPECT_EQ(runner.run({"-c", "exit 0"})->output, "");
  EXPECT_FALSE(ProcessRunner("/no/such/program").run({}));
}

}  // namespace
}  // namespace dsaperf::integrate
