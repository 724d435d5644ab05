#include "dsaperf/trace/steps.hpp"

#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

const char* const kRules = R"(format: dsaperf.stages.1
rules:
  - {stage: embedding, kernel: ["^embedding$"]}
  - {stage: sampling, kernel: ["^argmax$"]}
  - {stage: topk, phase: decode, kernel: ["^topk_decode$"]}
  - {stage: topk, phase: prefill, kernel: ["^topk_prefill$"]}
  - {stage: attention, kernel: ["^attention$"]}
  - {stage: attention_dense, kernel: [flash]}
  - {stage: gemm, kernel: [gemm]}
)";

// Kernels one after the other, 10 ns apart.
class Recorder {
 public:
  void run(std::string_view name, double duration_ns = 100, std::int32_t device = 0) {
    Launch launch;
    launch.name = timeline.names.intern(name);
    launch.start_ns = now_;
    launch.duration_ns = duration_ns;
    launch.device = device;
    timeline.launches.push_back(launch);
    now_ += duration_ns + 10;
  }
  void layer(std::string_view topk, double attention_ns = 300) {
    run("gemm_qkv");
    run(topk);
    run("attention", attention_ns);
    run("gemm_out");
  }
  void step(int layers, std::string_view topk, double attention_ns = 300) {
    run("embedding");
    for (int i = 0; i < layers; ++i) layer(topk, attention_ns);
    run("argmax");
  }
  std::vector<Steps> steps() {
    timeline.sort();
    return find_steps(timeline, classify(timeline, RuleSet::parse(kRules).value()));
  }

  Timeline timeline;

 private:
  double now_ = 0;
};

TEST(StepsTest, FindsLayersTimesSteps) {
  Recorder recorder;
  for (int i = 0; i < 10; ++i) recorder.step(78, "topk_decode");
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].steps.size(), 10U);
  EXPECT_EQ(steps[0].layers, 78U);
  EXPECT_EQ(steps[0].kernels, 78U * 4 + 2);
  EXPECT_EQ(steps[0].phase, Phase::kDecode);
  EXPECT_EQ(steps[0].busy_ns.median, 78 * 600 + 200);
  EXPECT_EQ(steps[0].layer_ns.median, 600);
}

TEST(StepsTest, CutStepsAndWarmUpAreLeftOut) {
  Recorder recorder;
  for (int i = 0; i < 3; ++i) recorder.layer("topk_decode");  // the end of a step
  recorder.run("argmax");
  recorder.step(20, "topk_decode", 3000);  // slow: caches fill
  for (int i = 0; i < 6; ++i) recorder.step(20, "topk_decode");
  recorder.run("embedding");
  for (int i = 0; i < 5; ++i) recorder.layer("topk_decode");
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].steps.size(), 6U);
  EXPECT_EQ(steps[0].layers, 20U);
  EXPECT_EQ(steps[0].busy_ns.p90, 20 * 600 + 200);
}

TEST(StepsTest, PrefillAndDecodeAreTold) {
  Recorder recorder;
  for (int i = 0; i < 2; ++i) recorder.step(8, "topk_prefill", 5000);
  for (int i = 0; i < 12; ++i) recorder.step(8, "topk_decode");
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].phase, Phase::kPrefill);
  EXPECT_EQ(steps[0].steps.size(), 2U);
  EXPECT_EQ(steps[0].layer_ns.median, 5300);
  EXPECT_EQ(steps[1].phase, Phase::kDecode);
  EXPECT_EQ(steps[1].steps.size(), 12U);
}

TEST(StepsTest, LayersOfASingleStepAreNoSteps) {
  Recorder recorder;
  recorder.step(36, "topk_decode");
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].steps.size(), 1U);
  EXPECT_EQ(steps[0].layers, 36U);
}

TEST(StepsTest, ALayerRunAloneIsAStepOfOneLayer) {
  Recorder recorder;
  for (int i = 0; i < 30; ++i) recorder.layer("topk_decode");
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].steps.size(), 30U);
  EXPECT_EQ(steps[0].layers, 1U);
  EXPECT_EQ(steps[0].layer_ns.median, 600);
}

TEST(StepsTest, StepsThatOnlySamplingEndsAreCountedWhole) {
  Recorder recorder;
  for (int i = 0; i < 4; ++i) {
    for (int layer = 0; layer < 3; ++layer) recorder.layer("topk_decode");
    recorder.run("argmax");
  }
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].steps.size(), 4U);
  EXPECT_EQ(steps[0].layers, 3U);
  EXPECT_EQ(steps[0].steps[0].begin, 0U);
  EXPECT_EQ(steps[0].left_out, 0U);
}

TEST(StepsTest, AlternatingLayersAreOneRound) {
  Recorder recorder;
  for (int i = 0; i < 20; ++i) {
    for (const char* name : {"gemm_a", "flash_local", "gemm_b"}) recorder.run(name);
    for (const char* name : {"gemm_a", "flash_local", "x", "y", "z", "w"}) recorder.run(name, 50);
  }
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].kernels, 9U);
  EXPECT_EQ(steps[0].layers, 2U);
}

TEST(StepsTest, DevicesAreKeptApart) {
  Recorder recorder;
  for (int i = 0; i < 8; ++i) {
    for (const std::int32_t device : {0, 1}) {
      recorder.run("gemm", 100, device);
      recorder.run("attention", device == 0 ? 300 : 500, device);
    }
  }
  const auto steps = recorder.steps();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].busy_ns.median, 400);
  EXPECT_EQ(steps[1].busy_ns.median, 600);
}

TEST(StepsTest, NothingRepeatedGivesNoStep) {
  Recorder recorder;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) recorder.run(name);
  EXPECT_TRUE(recorder.steps().empty());
}

TEST(GapsTest, IdleTimeAndItsLaunchBoundPart) {
  Timeline timeline;
  const auto add = [&](double start, double duration, double launched) {
    Launch launch;
    launch.name = timeline.names.intern("k");
    launch.start_ns = start;
    launch.duration_ns = duration;
    launch.launched_ns = launched;
    timeline.launches.push_back(launch);
  };
  add(0, 100, -50);
  add(50, 100, -40);   // overlaps on another stream
  add(250, 100, 230);  // idle from 150; launched at 230: 80 of 100 waited for the host
  add(400, 100, 0);    // idle from 350, launched long ago
  const auto gaps = find_gaps(timeline);
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].idle_ns, 150);
  EXPECT_EQ(gaps[0].launch_ns, 80);
  EXPECT_EQ(gaps[0].busy_ns, 350);
  EXPECT_EQ(gaps[0].gaps, 2U);
}

}  // namespace
}  // namespace dsaperf::trace
