// Scores that keep what may be selected, and the selection from it, on emulated CTAs: the positions
// of a full sort of the scores that the kernel of scores alone writes.
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "dsaperf/kernels/sm90/indexer_select/kernel.cuh"
#include "dsaperf/kernels/testing/topk_rows.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <random>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr std::int32_t kPoison = -77;
constexpr int kHeadBytes = 128;

// Requests whose scores follow `scale_of(position)`, times what queries and keys give.
struct Call {
  std::vector<std::int32_t> lengths;
  int ctas = 3;
  int topk = 128;
  int window = 1 << 14;
  bool equal_keys = false;  // scores are the scales alone
  float weight = 0;         // of all heads; 0: normal
  std::function<float(int)> scale_of = [](int) { return 0.5f; };
  unsigned seed = 1;
};

template <class T>
struct Aligned {
  explicit Aligned(std::size_t size, T fill = {}) : memory((size * sizeof(T) + 15) / 16) {
    std::fill_n(data(), size, fill);
  }
  T* data() { return reinterpret_cast<T*>(memory.data()); }
  std::vector<uint4> memory;
};

template <int kHeads>
void expect_selected(const Call& call) {
  std::mt19937 engine(call.seed);
  std::normal_distribution<float> normal;
  const auto requests = static_cast<int>(call.lengths.size());
  const int keys = std::max(*std::ranges::max_element(call.lengths), 1);
  const int pages_of_request = (keys + kPageTokens - 1) / kPageTokens;
  const int page_count = requests * pages_of_request;
  Aligned<std::uint8_t> q(requests * kHeads * kHeadBytes);
  Aligned<std::uint8_t> pages(page_count * kIndexPageBytes);
  Aligned<float> weights(requests * kHeads);
  for (int i = 0; i < requests * kHeads * kHeadBytes; ++i) q.data()[i] = e4m3_from(normal(engine));
  for (int i = 0; i < requests * kHeads; ++i)
    weights.data()[i] = call.weight == 0 ? normal(engine) : call.weight;
  std::vector<std::int32_t> table(page_count);
  std::iota(table.begin(), table.end(), 0);
  std::ranges::shuffle(table, engine);
  std::vector<std::uint8_t> key(kHeadBytes);
  for (auto& byte : key) byte = e4m3_from(normal(engine));
  for (int request = 0; request < requests; ++request) {
    for (int position = 0; position < pages_of_request * kPageTokens; ++position) {
      std::uint8_t* page =
          pages.data() + table[request * pages_of_request + position / kPageTokens] *
                             std::int64_t{kIndexPageBytes};
      if (!call.equal_keys)
        for (auto& byte : key) byte = e4m3_from(normal(engine));
      std::memcpy(page + position % kPageTokens * kHeadBytes, key.data(), kHeadBytes);
      const float scale = call.scale_of(position);
      std::memcpy(page + kIndexPageScaleOffset + position % kPageTokens * 4, &scale, 4);
    }
  }
  const std::int64_t stride = (keys + 7) / 8 * 8;
  Aligned<float> scores(requests * stride, std::numeric_limits<float>::infinity());
  Aligned<KeptElement> elements(requests * stride + 1, {~0u, ~0u});
  Aligned<std::uint32_t> bins((requests + call.ctas) * kKeptBins, 12345);
  Aligned<std::uint32_t> counts(requests + call.ctas, 12345);
  const std::int64_t out_stride = call.topk + 3;
  std::vector<std::int32_t> out((requests + 2) * out_stride, kPoison);
  const ScoresArguments arguments{
      .q = {.base = q.data(), .rows = requests * kHeads, .plane_bytes = 0, .box_rows = 64},
      .k = {.base = pages.data(),
            .rows = kPageTokens,
            .plane_bytes = kIndexPageBytes,
            .box_rows = kPageTokens},
      .k_scales = {},
      .weights = weights.data(),
      .pages = pages.data(),
      .block_table = table.data(),
      .context_length = call.lengths.data(),
      .scores = scores.data(),
      .page_stride_bytes = kIndexPageBytes,
      .block_table_stride = pages_of_request,
      .scores_stride = stride,
      .groups = requests,
      .rows = requests,
      .q_len = 1,
      .keys = keys,
      .columns = keys,
      .kept = {.elements = elements.data(),
               .histograms = bins.data(),
               .counts = counts.data(),
               .stride = stride,
               .topk = call.topk}};
  using Alone = ScoresConfig<kHeads, 64, 1, true, true>;
  using Keeps = ScoresConfig<kHeads, 64, 1, true, true, true>;
  emulated::launch(call.ctas, Alone::kThreads, 1, call.seed,
                   [&] { scores_kernel<Alone>(arguments); });
  emulated::launch(call.ctas, Keeps::kThreads, 1, call.seed,
                   [&] { scores_kernel<Keeps>(arguments); });
  const SelectKeptArguments selection{.kept = arguments.kept,
                                      .context_length = call.lengths.data(),
                                      .indices = out.data() + out_stride,
                                      .indices_stride = out_stride,
                                      .requests = requests,
                                      .keys = keys,
                                      .ctas = call.ctas,
                                      .window = std::min(call.window, (keys + 127) / 128 * 128)};
  emulated::launch(requests, kSelectThreads, 1, call.seed,
                   [&] { select_kept_kernel<Keeps>(selection); });
  for (int r = 0; r < requests; ++r) {
    const auto begin = out.begin() + (r + 1) * out_stride;
    const std::vector<std::int32_t> got(begin, begin + call.topk);
    ASSERT_EQ(got, testing::expected_positions(scores.data() + r * stride,
                                               std::max(call.lengths[r], 0), call.topk))
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
  expect_selected<64>({.lengths = {3000, 0, 700, 1, 128, 129, 1500}});
  expect_selected<32>({.lengths = {-3, 2000, 65, 1300}, .ctas = 5});
}

TEST(IndexerSelectEmulatedTest, SelectsWhateverTheOrderOfThreads) {
  for (unsigned seed = 2; seed < 5; ++seed)
    expect_selected<64>({.lengths = {1400, 900}, .topk = 64, .seed = seed});
}

TEST(IndexerSelectEmulatedTest, SelectsWhereEveryScoreIsKept) {
  const auto ascending = [](int position) { return static_cast<float>(position + 1); };
  expect_selected<64>({.lengths = {1000, 2100},
                       .window = 512,
                       .equal_keys = true,
                       .weight = 1,
                       .scale_of = ascending});
  expect_selected<64>({.lengths = {1500}, .equal_keys = true, .weight = 1});  // all equal
}

TEST(IndexerSelectEmulatedTest, SelectsAmongNegativeHugeAndUnorderedScores) {
  const auto wild = [](int position) {
    const float values[] = {1,
                            std::nanf(""),
                            1e30f,
                            1e-30f,
                            std::numeric_limits<float>::infinity(),
                            0,
                            3,
                            2,
                            -1,
                            -std::numeric_limits<float>::infinity()};
    return values[position * 7 % 10];
  };
  expect_selected<64>({.lengths = {1600, 300}, .equal_keys = true, .weight = -1, .scale_of = wild});
  expect_selected<64>({.lengths = {1600, 300}, .topk = 700, .scale_of = wild});
}

TEST(IndexerSelectEmulatedTest, SelectsWithMoreCtasThanPages) {
  expect_selected<64>({.lengths = {200, 70}, .ctas = 9, .topk = 32});
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
