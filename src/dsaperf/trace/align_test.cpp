#include "dsaperf/trace/align.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::trace {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

const char* const kRules = R"(format: dsaperf.stages.1
rules:
  - {stage: indexer_scores, kernel: [logits]}
  - {stage: topk, phase: decode, kernel: [topk_decode]}
  - {stage: topk, phase: prefill, kernel: [topk_prefill]}
  - {stage: topk, kernel: [topk]}
  - {stage: attention, kernel: [sparse_attn]}
  - {stage: attention_combine, kernel: [combine]}
  - {stage: moe, kernel: [moe]}
  - {stage: gemm, kernel: [gemm]}
  - {stage: copy, kernel: [copy]}
  - {stage: fill, kernel: [Fill]}
)";

struct Row {
  std::string_view name;
  std::int64_t calls;
  double total_ns;
};

// A recording with what align needs of it.
struct Recording {
  explicit Recording(const std::vector<Row>& rows, Phase phase = Phase::kUnknown) {
    for (const auto& row : rows) {
      timeline.sums.push_back({.name = timeline.names.intern(row.name),
                               .calls = row.calls,
                               .total_ns = row.total_ns,
                               .median_ns = row.total_ns / static_cast<double>(row.calls)});
    }
    finish(phase);
  }
  // `repeats` layers of these kernels, each taking its time.
  static Recording timed(const std::vector<std::pair<std::string_view, double>>& layer,
                         int repeats) {
    Recording recording({});
    double now = 0;
    for (int i = 0; i < repeats; ++i) {
      for (const auto& [name, duration] : layer) {
        Launch launch;
        launch.name = recording.timeline.names.intern(name);
        launch.start_ns = now;
        launch.duration_ns = duration;
        recording.timeline.launches.push_back(launch);
        now += duration;
      }
    }
    recording.finish(Phase::kUnknown);
    return recording;
  }
  void finish(Phase phase) {
    classified = classify(timeline, RuleSet::parse(kRules).value());
    profile = layer_profile(timeline, classified, phase);
  }

  Timeline timeline;
  Classified classified;
  LayerProfile profile;
};

Alignment aligned(const Recording& mock, const Recording& reference, double max_ratio = 2) {
  return align({mock.profile, mock.classified}, {reference.profile, reference.classified},
               max_ratio);
}

const AlignedStage& stage(const Alignment& alignment, Part part) {
  for (const auto& candidate : alignment.stages) {
    if (candidate.part == part) return candidate;
  }
  ADD_FAILURE() << "no stage " << name(part);
  return alignment.stages.front();
}

const std::vector<Row> kLayer = {
    {"logits", 10, 1000}, {"topk", 10, 500}, {"sparse_attn", 10, 3000}, {"gemm_a", 20, 400}};

TEST(AlignTest, ARecordingIsAlignedWithItself) {
  const Recording layer(kLayer);
  const auto alignment = aligned(layer, layer);
  EXPECT_TRUE(alignment.aligned());
  EXPECT_EQ(stage(alignment, Part::kTopk).ratio, 1);
  const Recording unknown({{"what", 3, 5}});
  EXPECT_TRUE(aligned(unknown, unknown).aligned());
}

TEST(AlignTest, CountsArePerLayerSoLengthsOfRecordingsDoNotMatter) {
  auto longer = kLayer;
  for (auto& row : longer) {
    row.calls *= 7;
    row.total_ns *= 7;
  }
  const auto alignment = aligned(Recording(kLayer), Recording(longer));
  EXPECT_TRUE(alignment.aligned());
  EXPECT_EQ(stage(alignment, Part::kGemm).mock_calls, 2);
  EXPECT_EQ(stage(alignment, Part::kGemm).reference_calls, 2);
}

TEST(AlignTest, MissingExtraAndOtherKernelsAreTold) {
  auto changed = kLayer;
  changed.erase(changed.begin());           // no scores in the mock
  changed[0].name = "my_topk";              // another top-k
  changed.push_back({"combine", 10, 100});  // a combine of its own
  const auto alignment = aligned(Recording(changed), Recording(kLayer));
  EXPECT_EQ(stage(alignment, Part::kIndexerScores).state, StageState::kMissing);
  EXPECT_EQ(stage(alignment, Part::kTopk).state, StageState::kOtherKernel);
  EXPECT_EQ(stage(alignment, Part::kAttentionCombine).state, StageState::kExtra);
  EXPECT_FALSE(alignment.none_missing);
  EXPECT_FALSE(alignment.names_match);
  EXPECT_FALSE(alignment.none_extra);
  EXPECT_TRUE(alignment.within_ratio);
  EXPECT_THAT(alignment.explanations, Contains(HasSubstr("another top-k: my_topk")));
}

TEST(AlignTest, AShortKernelThatRunsInEachLayerIsMissed) {
  auto with = kLayer;
  with.push_back({"topk_translate", 10, 20});  // 4 % of its stage
  auto rare = kLayer;
  rare.push_back({"topk_translate", 2, 4});  // a warm-up's
  EXPECT_EQ(stage(aligned(Recording(kLayer), Recording(with)), Part::kTopk).state,
            StageState::kOtherKernel);
  EXPECT_EQ(stage(aligned(Recording(with), Recording(kLayer)), Part::kTopk).state,
            StageState::kOtherKernel);
  EXPECT_EQ(stage(aligned(Recording(kLayer), Recording(rare)), Part::kTopk).state,
            StageState::kSame);
}

TEST(AlignTest, SwappedRecordingsSwapMissingAndExtra) {
  auto more = kLayer;
  more.push_back({"combine", 10, 100});
  const Recording mock(kLayer);
  const Recording reference(more);
  const auto there = aligned(mock, reference);
  const auto back = aligned(reference, mock);
  EXPECT_EQ(there.aligned(), back.aligned());
  ASSERT_EQ(there.stages.size(), back.stages.size());
  EXPECT_EQ(stage(there, Part::kAttentionCombine).state, StageState::kMissing);
  EXPECT_EQ(stage(back, Part::kAttentionCombine).state, StageState::kExtra);
  EXPECT_DOUBLE_EQ(*stage(there, Part::kTopk).ratio * *stage(back, Part::kTopk).ratio, 1);
}

TEST(AlignTest, AStageBeyondTheRatioIsNotAlignedEitherWay) {
  auto slower = kLayer;
  slower[2].total_ns *= 2.5;
  EXPECT_FALSE(aligned(Recording(slower), Recording(kLayer)).aligned());
  EXPECT_FALSE(aligned(Recording(kLayer), Recording(slower)).aligned());
  EXPECT_TRUE(aligned(Recording(slower), Recording(kLayer), 3).aligned());
}

TEST(AlignTest, RestOfTheModelIsNotMissingInALayer) {
  auto model = kLayer;
  model.push_back({"moe_gemm_kernel", 10, 9000});
  model.push_back({"copy", 10, 9000});
  EXPECT_TRUE(aligned(Recording(kLayer), Recording(model)).aligned());
  EXPECT_FALSE(aligned(Recording(model), Recording(kLayer)).aligned());  // but extra in a mock
}

TEST(AlignTest, GemmsOfAWholeModelAreNotComparedInTime) {
  auto model = kLayer;
  model.push_back({"moe_gemm_kernel", 10, 9000});
  model[3].total_ns *= 10;
  EXPECT_TRUE(aligned(Recording(kLayer), Recording(model)).aligned());
}

TEST(AlignTest, DifferencesWithinTheSpreadAreNone) {
  auto noisy = kLayer;
  noisy[2].total_ns *= 2.5;
  Recording mock(noisy);
  Recording reference(kLayer);
  for (auto* recording : {&mock, &reference}) {
    for (auto& sum : recording->timeline.sums) sum.stddev_ns = 1000;
    recording->finish(Phase::kUnknown);
  }
  const auto alignment = aligned(mock, reference);
  EXPECT_TRUE(stage(alignment, Part::kAttention).within_spread);
  EXPECT_TRUE(alignment.aligned());
}

TEST(AlignTest, MixedSummariesAreReadByPhase) {
  // 60 attention calls of both phases under one name, 50 of them decode.
  const std::vector<Row> served = {
      {"topk_decode", 50, 500}, {"topk_prefill", 10, 9000}, {"sparse_attn", 60, 999999}};
  Recording mock({{"topk_decode", 5, 50}, {"sparse_attn", 5, 100}});
  Recording reference(served);
  EXPECT_EQ(common_phase(mock.classified, reference.classified), Phase::kDecode);
  for (auto& sum : reference.timeline.sums) {
    if (reference.timeline.names[sum.name] == "sparse_attn") sum.median_ns = 20;
  }
  mock.finish(Phase::kDecode);
  reference.finish(Phase::kDecode);
  const auto alignment = aligned(mock, reference);
  EXPECT_EQ(stage(alignment, Part::kTopk).reference_calls, 1);
  EXPECT_EQ(stage(alignment, Part::kTopk).ratio, 1);
  EXPECT_EQ(stage(alignment, Part::kAttention).reference_calls, 1);
  EXPECT_EQ(stage(alignment, Part::kAttention).reference_ns, 20);
  EXPECT_TRUE(alignment.aligned());
}

TEST(AlignTest, SequencesAreAlignedCallByCall) {
  const auto mock = Recording::timed({{"sparse_attn", 300}, {"gemm_a", 50}, {"logits", 100}}, 20);
  const auto reference =
      Recording::timed({{"sparse_attn", 300}, {"gemm_b", 50}, {"topk", 10}, {"logits", 100}}, 20);
  const auto alignment = aligned(mock, reference);
  ASSERT_EQ(alignment.sequence.size(), 4U);
  EXPECT_TRUE(alignment.sequence[0].same_kernel);
  EXPECT_FALSE(alignment.sequence[1].same_kernel);  // gemm_a beside gemm_b
  EXPECT_TRUE(alignment.sequence[1].mock && alignment.sequence[1].reference);
  EXPECT_FALSE(alignment.sequence[2].mock);  // topk is missing
  EXPECT_TRUE(alignment.sequence[3].same_kernel);
}

TEST(AlignTest, ZeroFillsOfPaddedHeadsAreExplained) {
  auto padded = kLayer;
  padded.push_back(
      {"at::native::vectorized_elementwise_kernel<8, at::native::FillFunctor<c10::BFloat16>>", 10,
       30});
  const auto alignment = aligned(Recording(kLayer), Recording(padded));
  EXPECT_TRUE(alignment.aligned());
  EXPECT_THAT(alignment.explanations, Contains(HasSubstr("head padding")));
}

}  // namespace
}  // namespace dsaperf::trace
