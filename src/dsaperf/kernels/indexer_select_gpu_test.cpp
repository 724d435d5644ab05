#include "dsaperf/kernels/indexer_select.hpp"

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/topk.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace dsaperf::kernels {
namespace {

template <typename T>
T value_of(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  return std::move(result).value();
}

template <typename T>
gpu::DeviceArray<T> on_device(const std::vector<T>& host) {
  return value_of(gpu::DeviceArray<T>::copy_of(host));
}

// Drawing takes longer than anything else here, so what is long repeats itself.
std::vector<std::uint8_t> random_bytes(std::size_t size, std::mt19937& engine) {
  constexpr std::size_t kDrawn = 1048573;  // prime: no two keys meet the same part soon
  std::normal_distribution<double> normal;
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = i < kDrawn ? e4m3_from(normal(engine)) : bytes[i - kDrawn];
  return bytes;
}

std::vector<float> random_floats(std::size_t size, std::mt19937& engine) {
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (auto& value : values) value = normal(engine);
  return values;
}

// The selection of topk_reference on the scores that the unfused kernel gives, position for
// position, as both are ascending once sorted.
std::vector<std::int32_t> expected_selection(TopkParams params) {
  std::vector<std::int32_t> indices(params.rows * params.topk);
  params.indices = indices.data();
  params.indices_stride = params.topk;
  EXPECT_TRUE(topk_reference(params));
  for (std::int64_t r = 0; r < params.rows; ++r) {
    const auto begin = indices.begin() + r * params.topk;
    const auto last = std::find(begin, begin + params.topk, -1);
    std::sort(begin, last);
  }
  return indices;
}

TEST(IndexerSelectGpuTest, SelectsAsTheUnfusedKernelsDoInPartsOfAnySize) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(41);
  constexpr std::int64_t kTokens = 45;
  constexpr std::int64_t kKeys = 5001;
  constexpr int kHeads = 64;
  constexpr int kTopk = 512;
  const auto q = on_device(random_bytes(kTokens * kHeads * kIndexDim, engine));
  const auto k = on_device(random_bytes(kKeys * kIndexDim, engine));
  const auto weights = on_device(random_floats(kTokens * kHeads, engine));
  const auto scales = on_device(std::vector<float>(kKeys, 0.375f));
  std::vector<std::int32_t> start(kTokens), end(kTokens);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    start[t] = static_cast<std::int32_t>(t % 3 * 7);
    end[t] = static_cast<std::int32_t>(t * kKeys / (kTokens - 1));
  }
  const auto d_start = on_device(start);
  const auto d_end = on_device(end);
  auto scores = value_of(gpu::DeviceArray<float>::filled_with_byte(kTokens * kKeys, 0xcd));
  const auto stream = value_of(gpu::Stream::create());
  const IndexerScoresParams scores_params{.q = q.data(),
                                          .weights = weights.data(),
                                          .k = k.data(),
                                          .k_scales = scales.data(),
                                          .start = d_start.data(),
                                          .end = d_end.data(),
                                          .scores = scores.data(),
                                          .tokens = kTokens,
                                          .keys = kKeys,
                                          .heads = kHeads,
                                          .dim = kIndexDim,
                                          .scores_stride = kKeys};
  ASSERT_TRUE(indexer_scores(scores_params, stream.get()));
  const auto host_scores = value_of(scores.to_host());
  const auto expected = expected_selection({.scores = host_scores.data(),
                                            .start = start.data(),
                                            .end = end.data(),
                                            .rows = kTokens,
                                            .columns = kKeys,
                                            .topk = kTopk,
                                            .scores_stride = kKeys});
  auto indices = value_of(gpu::DeviceArray<std::int32_t>::filled_with_byte(kTokens * kTopk, 0xcd));
  const IndexerSelectParams params{
      .scores = scores_params, .indices = indices.data(), .topk = kTopk, .indices_stride = kTopk};
  constexpr std::size_t kRow = (kKeys + 7) / 8 * 8 * sizeof(float);
  for (const std::size_t budget : {kRow, 3 * kRow, 20 * kRow, kIndexerSelectWorkspace}) {
    const std::size_t size = value_of(indexer_select_workspace(params, budget));
    EXPECT_LE(size, budget);
    auto workspace = value_of(gpu::DeviceArray<std::uint8_t>::filled_with_byte(size, 0xcd));
    ASSERT_TRUE(indexer_select(params, workspace.data(), size, stream.get()));
    ASSERT_TRUE(stream.synchronize());
    EXPECT_EQ(value_of(indices.to_host()), expected) << "budget " << budget;
  }
  EXPECT_FALSE(indexer_select_workspace(params, kRow - 1).has_value());
}

TEST(PagedIndexerSelectGpuTest, SelectsAsTheUnfusedKernelsDoForSeveralNewTokens) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(42);
  constexpr int kHeads = 32;
  constexpr int kTopk = 256;
  const std::vector<std::int32_t> lengths{3000, 2, 0, 257, 1999};
  const std::int64_t batch = std::ssize(lengths);
  constexpr std::int64_t kPages = 50;
  constexpr std::int64_t kColumns = kPages * kPageTokens;
  auto bytes = random_bytes(batch * kPages * kIndexPageBytes, engine);
  for (std::int64_t page = 0; page < batch * kPages; ++page) {
    const std::vector<float> page_scales(kPageTokens, 0.625f);
    std::memcpy(&bytes[page * kIndexPageBytes + kIndexPageScaleOffset], page_scales.data(),
                4 * kPageTokens);
  }
  std::vector<std::int32_t> table(batch * kPages);
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<std::int32_t>(table.size() - 1 - i);
  const auto pages = on_device(bytes);
  const auto d_table = on_device(table);
  const auto d_lengths = on_device(lengths);
  const auto stream = value_of(gpu::Stream::create());
  for (const int q_len : {1, 2, 5}) {
    const std::int64_t rows = batch * q_len;
    const auto q = on_device(random_bytes(rows * kHeads * kIndexDim, engine));
    const auto weights = on_device(random_floats(rows * kHeads, engine));
    auto scores = value_of(gpu::DeviceArray<float>::filled_with_byte(rows * kColumns, 0xcd));
    const PagedIndexerScoresParams scores_params{.q = q.data(),
                                                 .weights = weights.data(),
                                                 .pages = pages.data(),
                                                 .block_table = d_table.data(),
                                                 .context_length = d_lengths.data(),
                                                 .scores = scores.data(),
                                                 .batch = batch,
                                                 .q_len = q_len,
                                                 .heads = kHeads,
                                                 .dim = kIndexDim,
                                                 .max_context = kColumns,
                                                 .page_stride_bytes = kIndexPageBytes,
                                                 .block_table_stride = kPages,
                                                 .scores_stride = kColumns};
    ASSERT_TRUE(paged_indexer_scores(scores_params, nullptr, 0, stream.get()));
    const auto host_scores = value_of(scores.to_host());
    const auto expected = expected_selection({.scores = host_scores.data(),
                                              .end = lengths.data(),
                                              .rows = rows,
                                              .columns = kColumns,
                                              .topk = kTopk,
                                              .scores_stride = kColumns,
                                              .rows_per_end = q_len});
    auto indices = value_of(gpu::DeviceArray<std::int32_t>::filled_with_byte(rows * kTopk, 0xcd));
    const PagedIndexerSelectParams params{
        .scores = scores_params, .indices = indices.data(), .topk = kTopk, .indices_stride = kTopk};
    const std::size_t request = static_cast<std::size_t>(q_len) * kColumns * sizeof(float);
    for (const std::size_t budget : {request, 2 * request, kIndexerSelectWorkspace}) {
      const std::size_t size = value_of(paged_indexer_select_workspace(params, budget));
      auto workspace = value_of(gpu::DeviceArray<std::uint8_t>::filled_with_byte(size, 0xcd));
      ASSERT_TRUE(paged_indexer_select(params, workspace.data(), size, stream.get()));
      ASSERT_TRUE(stream.synchronize());
      EXPECT_EQ(value_of(indices.to_host()), expected)
          << "q_len " << q_len << ", budget " << budget;
    }
  }
}

// Contexts and what their scores are like: `scale_of` is multiplied with what random queries and
// keys give, or stands alone where all keys are one.
struct OnePassCase {
  std::string name;
  std::vector<std::int32_t> lengths;
  int heads = 64;
  int topk = 2048;
  bool one_key = false;
  float (*scale_of)(std::int64_t position) = [](std::int64_t) { return 0.625f; };
};

// Calls in turn on one workspace and without a stop between them, as a decode loop makes them.
void expect_one_pass_selects_as_two_kernels(Variant variant, const OnePassCase& c) {
  SCOPED_TRACE(c.name);
  std::mt19937 engine(43);
  const std::int64_t batch = std::ssize(c.lengths);
  const std::int64_t columns = *std::ranges::max_element(c.lengths);
  const std::int64_t pages_of_request = (columns + kPageTokens - 1) / kPageTokens;
  auto bytes = random_bytes(batch * pages_of_request * kIndexPageBytes, engine);
  for (std::int64_t page = 0; page < batch * pages_of_request; ++page) {
    std::uint8_t* at = &bytes[page * kIndexPageBytes];
    for (std::int64_t i = 0; i < kPageTokens; ++i) {
      if (c.one_key) std::memcpy(at + i * kIndexDim, bytes.data(), kIndexDim);
      // Pages stand in order, so this is the position.
      const float scale = c.scale_of(page % pages_of_request * kPageTokens + i);
      std::memcpy(at + kIndexPageScaleOffset + 4 * i, &scale, sizeof scale);
    }
  }
  std::vector<std::int32_t> table(batch * pages_of_request);
  std::iota(table.begin(), table.end(), 0);
  const auto pages = on_device(bytes);
  const auto d_table = on_device(table);
  const auto d_lengths = on_device(c.lengths);
  const auto stream = value_of(gpu::Stream::create());
  constexpr int kCalls = 4;
  const auto q = on_device(random_bytes(kCalls * batch * c.heads * kIndexDim, engine));
  const auto weights = on_device(random_floats(kCalls * batch * c.heads, engine));
  auto indices =
      value_of(gpu::DeviceArray<std::int32_t>::filled_with_byte(2 * kCalls * batch * c.topk, 0xcd));
  const auto params_of = [&](int call) {
    return PagedIndexerSelectParams{.scores = {.q = q.data() + call * batch * c.heads * kIndexDim,
                                               .weights = weights.data() + call * batch * c.heads,
                                               .pages = pages.data(),
                                               .block_table = d_table.data(),
                                               .context_length = d_lengths.data(),
                                               .batch = batch,
                                               .heads = c.heads,
                                               .dim = kIndexDim,
                                               .max_context = columns,
                                               .page_stride_bytes = kIndexPageBytes,
                                               .block_table_stride = pages_of_request},
                                    .indices = indices.data() + call * batch * c.topk,
                                    .topk = c.topk,
                                    .indices_stride = c.topk};
  };
  const auto workspace_of = [&](Variant by, std::size_t budget) {
    const std::size_t size =
        value_of(paged_indexer_select_variant_workspace(params_of(0), by, budget));
    EXPECT_LE(size, budget);
    return value_of(gpu::DeviceArray<std::uint8_t>::filled_with_byte(size, 0xcd));
  };
  const auto run = [&](Variant by, int first, const gpu::DeviceArray<std::uint8_t>& workspace) {
    for (int call = 0; call < kCalls; ++call) {
      auto params = params_of(call);
      params.indices += first * batch * c.topk;
      ASSERT_TRUE(paged_indexer_select_variant(params, by, workspace.data(), workspace.size(),
                                               stream.get()));
    }
    ASSERT_TRUE(stream.synchronize());
  };
  run(Variant::kDefault, 0, workspace_of(Variant::kDefault, kIndexerSelectWorkspace));
  const std::size_t few = 5U << 20;  // some requests at a time
  for (const std::size_t budget : {kIndexerSelectWorkspace, few}) {
    const auto workspace = workspace_of(variant, budget);
    for (int repeat = 0; repeat < 2; ++repeat) {
      run(variant, kCalls, workspace);
      const auto host = value_of(indices.to_host());
      const auto half = host.begin() + kCalls * batch * c.topk;
      const auto [at, wanted] = std::mismatch(half, host.end(), host.begin());
      ASSERT_TRUE(at == host.end())
          << "call " << (at - half) / (batch * c.topk) << ", request "
          << (at - half) % (batch * c.topk) / c.topk << ", entry " << (at - half) % c.topk << " is "
          << *at << ", expected " << *wanted;
    }
  }
}

class OnePassSelectGpuTest : public ::testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(InOnePass, OnePassSelectGpuTest, ::testing::Values(Variant::kFused),
                         [](const auto& test) { return std::string(name(test.param)); });

// As small as sanitizers want it: an end within a page, none at all, more CTAs than pages.
TEST_P(OnePassSelectGpuTest, SelectsOfFewShortRequests) {
  DSAPERF_REQUIRE_GPU();
  expect_one_pass_selects_as_two_kernels(
      GetParam(), {.name = "few", .lengths = {700, 0, 1500, 65}, .topk = 64});
}

TEST_P(OnePassSelectGpuTest, SelectsAsTheTwoKernelsDo) {
  DSAPERF_REQUIRE_GPU();
  std::vector<std::int32_t> many(130), ragged(40);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int32_t>(9000 + 64 * i);
  for (std::size_t i = 0; i < ragged.size(); ++i)
    ragged[i] = static_cast<std::int32_t>(i % 5 == 0 ? i % 3 : i * i * 37 % 50000);
  const std::vector<std::int32_t> two{70000, 33001};
  const auto ascending = [](std::int64_t position) { return static_cast<float>(position + 1); };
  const auto wild = [](std::int64_t position) {
    constexpr float kValues[] = {1, 1e30f, 1e-30f, HUGE_VALF, 0, 3, 2, -1, -HUGE_VALF, NAN};
    return kValues[position * 7 % 10];
  };
  for (const auto& c : std::vector<OnePassCase>{
           {.name = "one", .lengths = {131072}},
           {.name = "many", .lengths = many},
           {.name = "many of 32 heads", .lengths = many, .heads = 32},
           {.name = "ragged", .lengths = ragged, .topk = 512},
           {.name = "short", .lengths = {5, 0, 64, 2048, 2049, 1}},
           {.name = "256 requests", .lengths = std::vector<std::int32_t>(256, 2100), .topk = 64},
           {.name = "ascending", .lengths = two, .one_key = true, .scale_of = ascending},
           {.name = "all equal", .lengths = two, .topk = 4096, .one_key = true},
           {.name = "wild", .lengths = two, .scale_of = wild}}) {
    expect_one_pass_selects_as_two_kernels(GetParam(), c);
  }
}

}  // namespace
}  // namespace dsaperf::kernels
