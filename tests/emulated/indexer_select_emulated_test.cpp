// Scores that keep what may be selected or are counted, and the selection from it, on emulated
// CTAs: the positions of a full sort of the scores that the kernel of scores alone writes.
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "dsaperf/kernels/sm90/indexer_select/select_counted.cuh"
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
  Aligned<KeptElement> elements(requests * inputs.stride() + 1, {~0u, ~0u});
  Aligned<std::uint32_t> bins((requests + call.ctas) * kScoreBins, 12345);
  Aligned<std::uint32_t> counts(requests + call.ctas, 12345);
  ScoresArguments arguments = inputs.arguments(64);
  arguments.kept = {.elements = elements.data(),
                    .histograms = bins.data(),
                    .counts = counts.data(),
                    .stride = inputs.stride(),
                    .topk = call.topk};
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
  ASSERT_EQ(elements.data()[requests * inputs.stride()].key, ~0u) << "kept more than there is";
}

// With clusters of one CTA and more; scores are those of the kernel without counts.
template <int kHeads>
void expect_selected_from_counted(const Call& call, PagedInputs& inputs) {
  const int requests = inputs.count();
  const std::vector<float> scores(inputs.scores(), inputs.scores() + requests * inputs.stride());
  std::fill_n(inputs.scores(), requests * inputs.stride(), std::numeric_limits<float>::infinity());
  Aligned<std::uint32_t> bins((requests + call.ctas) * kScoreBins, 12345);
  Aligned<std::uint32_t> progress(call.ctas, 12345);
  ScoresArguments arguments = inputs.arguments(64);
  arguments.counts = {.histograms = bins.data(), .progress = progress.data()};
  using Counts = ScoresConfig<kHeads, 64, false, true, true, Leaves::kCounted, false, 2>;
  const unsigned seed = call.requests.seed;
  emulated::launch(call.ctas, Counts::kThreads, 1, seed, [&] { scores_kernel<Counts>(arguments); });
  ASSERT_EQ(std::memcmp(scores.data(), inputs.scores(), scores.size() * sizeof(float)), 0);
  for (const int cluster : {1, 2, 4}) {
    Lists lists(requests, call.topk);
    const SelectCountedArguments selection{
        .counts = arguments.counts,
        .scores = inputs.scores(),
        .context_length = arguments.context_length,
        .indices = lists.data(),
        .scores_stride = inputs.stride(),
        .indices_stride = lists.stride(),
        .requests = requests,
        .keys = inputs.keys(),
        .topk = call.topk,
        .ctas = call.ctas,
        .window =
            std::min(call.window, (inputs.keys() + kSliceUnit - 1) / kSliceUnit * kSliceUnit)};
    emulated::launch(requests * cluster, kSelectCountedThreads, cluster, seed,
                     [&] { select_counted_kernel<Counts>(selection); });
    lists.expect(inputs, call.requests.lengths, "counted");
  }
}

template <int kHeads>
void expect_selected(Call call) {
  call.requests.heads = kHeads;
  PagedInputs inputs(call.requests);
  using Alone = ScoresConfig<kHeads, 64, false, true, true>;
  emulated::launch(call.ctas, Alone::kThreads, 1, call.requests.seed,
                   [&] { scores_kernel<Alone>(inputs.arguments(64)); });
  expect_selected_from_kept<kHeads>(call, inputs);
  expect_selected_from_counted<kHeads>(call, inputs);
}

TEST(ScoreBinTest, FollowsTheOrderOfFloatsAndKnowsItsLowestKey) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {-kInfinity, -1e30f, -65536, -3, -1e-20f, -1e-44f, 0,
                               1e-44f,     1e-20f, 1e-5f,  3,  65535,   1e30f,   kInfinity};
  std::mt19937 engine(3);
  for (int i = 0; i < 20000; ++i) {
    const auto bits = static_cast<std::uint32_t>(engine());
    const auto value = std::bit_cast<float>(bits);
    if (!std::isnan(value)) values.push_back(value);
  }
  std::ranges::sort(values);
  EXPECT_EQ(score_bin(key_of(std::nanf(""))), 0);
  int last = 0;
  for (const float value : values) {
    const std::uint32_t key = key_of(value);
    const int bin = score_bin(key);
    ASSERT_GE(bin, last) << value;
    ASSERT_LT(bin, kScoreBins) << value;
    ASSERT_GE(key, first_key_of_score_bin(bin)) << value;
    if (bin + 1 < kScoreBins) {
      ASSERT_LT(key, first_key_of_score_bin(bin + 1)) << value;
    }
    last = bin;
  }
  for (int bin = 1; bin < kScoreBins; ++bin) {
    ASSERT_EQ(score_bin(first_key_of_score_bin(bin)), bin);
    ASSERT_EQ(score_bin(first_key_of_score_bin(bin) - 1), bin - 1);
  }
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

TEST(IndexerSelectEmulatedTest, SelectsWithMoreCtasThanPages) {
  expect_selected<64>({.requests = {.lengths = {200, 70}}, .ctas = 9, .topk = 32});
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
