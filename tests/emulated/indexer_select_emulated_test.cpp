// Scores that keep what may be selected or are counted, and the selection from it, on emulated
// CTAs: the positions of a full sort of the scores that the kernel of scores alone writes.
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "dsaperf/kernels/sm90/indexer_select/select_kept.cuh"
#include "dsaperf/kernels/testing/topk_rows.hpp"
#include "paged_inputs.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

namespace dsaperf::kernels::sm90 {
namespace {

using testing::Aligned;
using testing::PagedInputs;
using testing::Requests;

constexpr std::int32_t kPoison = -77;
struct Call {
  Requests requests;
  int ctas = 3;
  int topk = 128;
  int most = kMostKept;
  int window = 1 << 14;
};

// The lists of a call, poisoned, with some room before and after them.
class Lists {
 public:
  Lists(int requests, int topk)
      : requests_(requests),
        topk_(topk),
        stride_(topk + 3),
        positions_((requests + 2) * stride_, kPoison) {}
  std::int32_t* data() { return positions_.data() + stride_; }
  std::int64_t stride() const { return stride_; }

  void expect(PagedInputs& inputs, const std::vector<std::int32_t>& lengths, const char* variant) {
    for (int r = 0; r < requests_; ++r) {
      const auto begin = positions_.begin() + (r + 1) * stride_;
      const std::vector<std::int32_t> got(begin, begin + topk_);
      ASSERT_EQ(got, kernels::testing::expected_positions(inputs.scores() + r * inputs.stride(),
                                                          std::max(lengths[r], 0), topk_))
          << variant << ", request " << r;
    }
    for (std::int64_t i = 0; i < std::ssize(positions_); ++i) {
      if (i >= stride_ && i < (requests_ + 1) * stride_ && i % stride_ < topk_) continue;
      ASSERT_EQ(positions_[i], kPoison) << variant << " wrote outside the lists, at " << i;
    }
  }

 private:
  int requests_;
  int topk_;
  std::int64_t stride_;
  std::vector<std::int32_t> positions_;
};

template <int kHeads>
void expect_selected_from_kept(const Call& call, PagedInputs& inputs) {
  const int requests = inputs.count();
  const int segments = requests + call.ctas;
  constexpr KeptElement kPoisoned{~0u, ~0u};
  Aligned<KeptElement> elements(segments * kMostKept + 1, kPoisoned);
  constexpr std::uint32_t kNone = 12345;
  Aligned<KeptSummary> summaries(segments, {kNone, kNone, kNone});
  ScoresArguments arguments = inputs.arguments(64);
  arguments.kept = {.elements = elements.data(),
                    .summaries = summaries.data(),
                    .topk = call.topk,
                    .most = call.most};
  using Keeps = ScoresConfig<kHeads, 64, false, true, true, Leaves::kKept>;
  const unsigned seed = call.requests.seed;
  emulated::launch(call.ctas, Keeps::kThreads, 1, seed, [&] { scores_kernel<Keeps>(arguments); });
  Lists lists(requests, call.topk);
  const SelectKeptArguments selection{
      .kept = arguments.kept,
      .context_length = arguments.context_length,
      .indices = lists.data(),
      .indices_stride = lists.stride(),
      .requests = requests,
      .keys = inputs.keys(),
      .ctas = call.ctas,
      .window = std::min(call.window, (inputs.keys() + 127) / 128 * 128)};
  emulated::launch(requests, kSelectKeptThreads, 1, seed,
                   [&] { select_kept_kernel<Keeps>(selection); });
  lists.expect(inputs, call.requests.lengths, "kept");
  for (int segment = 0; segment < segments; ++segment) {
    const KeptSummary& summary = summaries.data()[segment];
    if (summary.count == kNone) continue;
    ASSERT_LE(summary.count, std::max(call.most, call.topk));
    for (int i = 0; i < kMostKept; ++i) {
      const KeptElement& element = elements.data()[segment * kMostKept + i];
      if (i >= static_cast<int>(summary.count)) {
        ASSERT_EQ(element.position, ~0u) << "segment " << segment;
      } else {
        ASSERT_GE(element.key, summary.least);
        ASSERT_LE(element.key, summary.largest);
      }
    }
  }
  ASSERT_EQ(elements.data()[segments * kMostKept].position, ~0u)
      << "kept more than there is room for";
}

template <int kHeads>
void expect_selected(Call call) {
  call.requests.heads = kHeads;
  PagedInputs inputs(call.requests);
  using Alone = ScoresConfig<kHeads, 64, false, true, true>;
  emulated::launch(call.ctas, Alone::kThreads, 1, call.requests.seed,
                   [&] { scores_kernel<Alone>(inputs.arguments(64)); });
  expect_selected_from_kept<kHeads>(call, inputs);
}

TEST(IndexerSelectEmulatedTest, SelectsAsASortOfTheScoresDoes) {
  expect_selected<64>({.requests = {.lengths = {3000, 0, 700, 1, 128, 129, 1500}}});
  expect_selected<32>({.requests = {.lengths = {-3, 2000, 65, 1300}}, .ctas = 5});
}

TEST(IndexerSelectEmulatedTest, SelectsWhateverTheOrderOfThreads) {
  for (unsigned seed = 2; seed < 5; ++seed)
    expect_selected<64>({.requests = {.lengths = {1400, 900}, .seed = seed}, .topk = 64});
}

TEST(IndexerSelectEmulatedTest, SelectsWhereEveryScoreIsKept) {
  const auto ascending = [](int position) { return static_cast<float>(position + 1); };
  expect_selected<64>({.requests = {.lengths = {1000, 2100},
                                    .equal_keys = true,
                                    .weight = 1,
                                    .scale_of = ascending},
                       .window = 512});
  expect_selected<64>({.requests = {.lengths = {1500}, .equal_keys = true, .weight = 1}});  // ties
}

TEST(IndexerSelectEmulatedTest, SelectsAmongNegativeHugeAndUnorderedScores) {
  const auto wild = [](int position) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float values[] = {1, std::nanf(""), 1e30f, 1e-30f, kInfinity, 0, 3, 2, -1, -kInfinity};
    return values[position * 7 % 10];
  };
  expect_selected<64>(
      {.requests = {.lengths = {1600, 300}, .equal_keys = true, .weight = -1, .scale_of = wild}});
  expect_selected<64>({.requests = {.lengths = {1600, 300}, .scale_of = wild}, .topk = 700});
}

// Lists that are full again and again: nothing is below the pivot, or all scores are alike, and of
// these the lowest positions are taken.
TEST(IndexerSelectEmulatedTest, SelectsWhereTheListIsFull) {
  const auto ascending = [](int position) { return static_cast<float>(position + 1); };
  for (const int topk : {64, 2048, kMostKept}) {
    expect_selected<64>({.requests = {.lengths = {19000, 5000},
                                      .equal_keys = true,
                                      .weight = 1,
                                      .scale_of = ascending},
                         .ctas = 2,
                         .topk = topk});
    expect_selected<64>({.requests = {.lengths = {13000}, .equal_keys = true, .weight = 1},
                         .ctas = 1,
                         .topk = topk,
                         .most = 100});
  }
  expect_selected<64>({.requests = {.lengths = {20000}}, .ctas = 2, .topk = 512, .most = 700});
}

// More elements than are selected from in shared memory.
TEST(IndexerSelectEmulatedTest, SelectsFromManySegments) {
  expect_selected<64>({.requests = {.lengths = {30000}}, .ctas = 9, .topk = 2048});
}

TEST(IndexerSelectEmulatedTest, SelectsWithMoreCtasThanPages) {
  expect_selected<64>({.requests = {.lengths = {200, 70}}, .ctas = 9, .topk = 32});
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
