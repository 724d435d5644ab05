// Scores that keep what may be selected, and the selection from it, on emulated CTAs: the positions
// of a full sort of the scores that the kernel of scores alone writes.
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "dsaperf/kernels/sm90/indexer_select/kernel.cuh"
#include "dsaperf/kernels/testing/topk_rows.hpp"
#include "paged_inputs.hpp"

#include <gtest/gtest.h>

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

template <int kHeads>
void expect_selected(Call call) {
  call.requests.heads = kHeads;
  const std::vector<std::int32_t>& lengths = call.requests.lengths;
  PagedInputs inputs(call.requests);
  const std::int64_t stride = inputs.stride();
  const int requests = inputs.count();
  Aligned<KeptElement> elements(requests * stride + 1, {~0u, ~0u});
  Aligned<std::uint32_t> bins((requests + call.ctas) * kKeptBins, 12345);
  Aligned<std::uint32_t> counts(requests + call.ctas, 12345);
  const std::int64_t out_stride = call.topk + 3;
  std::vector<std::int32_t> out((requests + 2) * out_stride, kPoison);
  ScoresArguments arguments = inputs.arguments(64);
  arguments.kept = {.elements = elements.data(),
                    .histograms = bins.data(),
                    .counts = counts.data(),
                    .stride = stride,
                    .topk = call.topk};
  using Alone = ScoresConfig<kHeads, 64, false, true, true>;
  using Keeps = ScoresConfig<kHeads, 64, false, true, true, true>;
  const unsigned seed = call.requests.seed;
  emulated::launch(call.ctas, Alone::kThreads, 1, seed, [&] { scores_kernel<Alone>(arguments); });
  emulated::launch(call.ctas, Keeps::kThreads, 1, seed, [&] { scores_kernel<Keeps>(arguments); });
  const SelectKeptArguments selection{
      .kept = arguments.kept,
      .context_length = arguments.context_length,
      .indices = out.data() + out_stride,
      .indices_stride = out_stride,
      .requests = requests,
      .keys = inputs.keys(),
      .ctas = call.ctas,
      .window = std::min(call.window, (inputs.keys() + 127) / 128 * 128)};
  emulated::launch(requests, kSelectThreads, 1, seed,
                   [&] { select_kept_kernel<Keeps>(selection); });
  for (int r = 0; r < requests; ++r) {
    const auto begin = out.begin() + (r + 1) * out_stride;
    const std::vector<std::int32_t> got(begin, begin + call.topk);
    ASSERT_EQ(got, kernels::testing::expected_positions(inputs.scores() + r * stride,
                                                        std::max(lengths[r], 0), call.topk))
        << "request " << r;
  }
  for (std::int64_t i = 0; i < std::ssize(out); ++i) {
    if (i >= out_stride && i < (requests + 1) * out_stride && i % out_stride < call.topk) continue;
    ASSERT_EQ(out[i], kPoison) << "wrote outside the lists, at " << i;
  }
  ASSERT_EQ(elements.data()[requests * stride].key, ~0u) << "kept more than there is";
}

TEST(KeptBinTest, FollowsTheOrderOfFloatsAndKnowsItsLowestKey) {
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
  EXPECT_EQ(kept_bin(key_of(std::nanf(""))), 0);
  int last = 0;
  for (const float value : values) {
    const std::uint32_t key = key_of(value);
    const int bin = kept_bin(key);
    ASSERT_GE(bin, last) << value;
    ASSERT_LT(bin, kKeptBins) << value;
    ASSERT_GE(key, first_key_of_kept_bin(bin)) << value;
    if (bin + 1 < kKeptBins) {
      ASSERT_LT(key, first_key_of_kept_bin(bin + 1)) << value;
    }
    last = bin;
  }
  for (int bin = 1; bin < kKeptBins; ++bin) {
    ASSERT_EQ(kept_bin(first_key_of_kept_bin(bin)), bin);
    ASSERT_EQ(kept_bin(first_key_of_kept_bin(bin) - 1), bin - 1);
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
