#include "dsaperf/kernels/indexer_scores.hpp"

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace dsaperf::kernels {
namespace {

constexpr std::uint32_t kPoisonBits = 0xcdcdcdcd;  // what a kernel leaves where it does not write
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

template <typename T>
T value_of(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  return std::move(result).value();
}

template <typename T>
gpu::DeviceArray<T> on_device(const std::vector<T>& host) {
  return value_of(gpu::DeviceArray<T>::copy_of(host));
}

const std::array<double, 256>& e4m3_values() {
  static const auto kValues = [] {
    std::array<double, 256> table{};
    for (int i = 0; i < 256; ++i) table[i] = e4m3_to_float(static_cast<std::uint8_t>(i));
    return table;
  }();
  return kValues;
}

// A score in double, and how far f32 may be from it.
//
// The tensor core keeps products exact, aligns the 32 of a step and the sum so far to the largest
// of them, and drops what lies more than 13 bits below: each of 33 terms loses less than
// 2^-13 of that largest, in each of 4 steps. Then 2 heads rounded products and sums of f32, at most
// heads / 4 + 6 in a chain, half an ulp (2^-24) of at most the sum of magnitudes each; relu has
// slope at most 1.
struct ScoreInDouble {
  double score = 0;
  double tolerance = 0;
};

ScoreInDouble score_in_double(const std::uint8_t* q, const float* weights, int heads,
                              const std::uint8_t* key, float scale) {
  const auto& values = e4m3_values();
  double sum = 0;
  double products_error = 0;
  double magnitude = 0;
  for (int h = 0; h < heads; ++h) {
    double dot = 0;
    double dot_error = 0;
    for (int step = 0; step < kIndexDim; step += 32) {
      double largest = std::abs(dot);
      for (int d = step; d < step + 32; ++d) {
        const double product = values[q[h * kIndexDim + d]] * values[key[d]];
        largest = std::max(largest, std::abs(product));
        dot += product;
      }
      dot_error += 33 * std::ldexp(std::max(largest, std::abs(dot)), -13);
    }
    const double term = static_cast<double>(weights[h]) * std::max(dot, 0.0);
    sum += term;
    products_error += std::abs(static_cast<double>(weights[h])) * dot_error;
    magnitude += std::abs(term);
  }
  const double chain = heads / 4 + 6;
  const double sums_error = (magnitude + products_error) * chain * std::ldexp(1.0, -23);
  return {scale * sum, scale * (products_error + sums_error) + 1e-44};
}

struct Queries {
  Queries(std::int64_t rows, int heads, std::mt19937& engine)
      : q(rows * heads * kIndexDim), weights(rows * heads) {
    std::normal_distribution<double> normal;
    for (auto& value : q) value = e4m3_from(normal(engine));
    for (auto& value : weights) value = static_cast<float>(normal(engine));
  }

  std::vector<std::uint8_t> q;
  std::vector<float> weights;
};

// Worst error as a share of its tolerance, so that a failure says how far off it is.
struct Comparison {
  double worst = 0;
  std::string where;

  void add(float got, const ScoreInDouble& expected, std::int64_t row, std::int64_t key) {
    const double error = std::abs(got - expected.score);
    const double share = error <= expected.tolerance ? error / expected.tolerance
                         : std::isfinite(got)        ? error / expected.tolerance
                                                     : 1e30;
    if (share > worst) {
      worst = share;
      where = "row " + std::to_string(row) + ", key " + std::to_string(key) + ": got " +
              std::to_string(got) + ", expected " + std::to_string(expected.score) + " +- " +
              std::to_string(expected.tolerance);
    }
  }
};

void expect_outside(float got, OutsideScores outside, const std::string& what) {
  if (outside == OutsideScores::kMinusInfinity) {
    ASSERT_EQ(got, kMinusInfinity) << what;
  } else {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got), kPoisonBits) << what;
  }
}

struct PrefillCase {
  std::int64_t tokens = 1;
  std::int64_t keys = 1;
  int heads = 64;
  OutsideScores outside = OutsideScores::kUntouched;
  bool ragged = false;     // limits at random, some rows see nothing; else causal
  std::int64_t every = 1;  // compare every n-th score
  Variant variant = Variant::kDefault;
};

// One row of canaries before and after the scores, whose rows are longer than the keys.
void expect_prefill(const PrefillCase& c, std::mt19937& engine) {
  const std::string what = "tokens " + std::to_string(c.tokens) + ", keys " +
                           std::to_string(c.keys) + ", heads " + std::to_string(c.heads) + ", " +
                           std::string(name(c.variant));
  const Queries queries(c.tokens, c.heads, engine);
  std::vector<std::uint8_t> k(c.keys * kIndexDim);
  std::vector<float> k_scales(c.keys);
  std::normal_distribution<double> normal;
  for (auto& value : k) value = e4m3_from(normal(engine));
  for (auto& value : k_scales) value = static_cast<float>(std::exp(normal(engine)));
  std::vector<std::int32_t> start(c.tokens, 0);
  std::vector<std::int32_t> end(c.tokens);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    end[t] = static_cast<std::int32_t>(std::max<std::int64_t>(0, c.keys - c.tokens + 1 + t));
    if (c.ragged) {
      start[t] = static_cast<std::int32_t>(engine() % c.keys);
      end[t] = static_cast<std::int32_t>(engine() % (c.keys + 1)) + (t % 7 == 3 ? 100000 : 0);
      if (t % 5 == 4) end[t] = start[t];
    }
  }
  const std::int64_t stride = c.keys + 7;
  const auto d_q = on_device(queries.q);
  const auto d_weights = on_device(queries.weights);
  const auto d_k = on_device(k);
  const auto d_scales = on_device(k_scales);
  const auto d_start = on_device(start);
  const auto d_end = on_device(end);
  const auto stream = value_of(gpu::Stream::create());
  std::vector<float> first_run;
  for (int run = 0; run < 2; ++run) {
    auto scores =
        value_of(gpu::DeviceArray<float>::filled_with_byte((c.tokens + 2) * stride, 0xcd));
    const IndexerScoresParams params{.q = d_q.data(),
                                     .weights = d_weights.data(),
                                     .k = d_k.data(),
                                     .k_scales = d_scales.data(),
                                     .start = d_start.data(),
                                     .end = d_end.data(),
                                     .scores = scores.data() + stride,
                                     .tokens = c.tokens,
                                     .keys = c.keys,
                                     .heads = c.heads,
                                     .dim = kIndexDim,
                                     .scores_stride = stride,
                                     .outside = c.outside};
    const auto launched = indexer_scores_variant(params, c.variant, stream.get());
    ASSERT_TRUE(launched.has_value()) << what << ": " << launched.error().message();
    const auto done = stream.synchronize();
    ASSERT_TRUE(done.has_value()) << what << ": " << done.error().message();
    auto got = value_of(scores.to_host());
    if (run == 1) {
      ASSERT_EQ(std::memcmp(got.data(), first_run.data(), got.size() * sizeof(float)), 0)
          << what << ": two runs differ";
      break;
    }
    Comparison comparison;
    for (std::int64_t t = -1; t <= c.tokens; ++t) {
      const float* row = got.data() + (t + 1) * stride;
      const bool inside_rows = t >= 0 && t < c.tokens;
      const std::int64_t from = inside_rows ? start[t] : 0;
      const std::int64_t to = inside_rows ? std::min<std::int64_t>(end[t], c.keys) : 0;
      for (std::int64_t i = 0; i < stride; ++i) {
        if (inside_rows && i >= from && i < to) {
          if ((t * stride + i) % c.every != 0) continue;
          comparison.add(
              row[i],
              score_in_double(&queries.q[t * c.heads * kIndexDim], &queries.weights[t * c.heads],
                              c.heads, &k[i * kIndexDim], k_scales[i]),
              t, i);
        } else {
          expect_outside(row[i], inside_rows && i < c.keys ? c.outside : OutsideScores::kUntouched,
                         what + ", row " + std::to_string(t) + ", column " + std::to_string(i));
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
    EXPECT_LE(comparison.worst, 1) << what << ": " << comparison.where;
    testing::Test::RecordProperty("worst_share_of_tolerance", std::to_string(comparison.worst));
    first_run = std::move(got);
  }
}

TEST(IndexerScoresGpuTest, MatchesDoubleOnCausalRows) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(21);
  for (const int heads : {8, 16, 32, 64}) {
    for (const auto& [tokens, keys] :
         {std::pair{1, 1}, {1, 64}, {3, 63}, {8, 65}, {9, 200}, {70, 70}}) {
      expect_prefill({.tokens = tokens, .keys = keys, .heads = heads}, engine);
    }
  }
}

TEST(IndexerScoresGpuTest, TouchesOrFillsWhatARowDoesNotSeeAsAsked) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(22);
  for (const int heads : {8, 32, 64}) {
    for (const auto outside : {OutsideScores::kUntouched, OutsideScores::kMinusInfinity}) {
      expect_prefill(
          {.tokens = 37, .keys = 333, .heads = heads, .outside = outside, .ragged = true}, engine);
    }
  }
}

TEST(IndexerScoresGpuTest, SharesLongRaggedWorkOverAllSms) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(23);
  expect_prefill({.tokens = 301, .keys = 5003, .ragged = true, .every = 331}, engine);
  expect_prefill({.tokens = 1, .keys = 20011, .every = 13}, engine);
  expect_prefill({.tokens = 1500, .keys = 1500, .heads = 32, .every = 2003}, engine);
}

TEST(IndexerScoresGpuTest, MatchesDoubleInEveryVariant) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(24);
  for (const int heads : {32, 64}) {
    for (const auto& [tokens, keys] : {std::pair{1, 1}, {3, 63}, {70, 170}, {37, 1333}}) {
      for (const Variant variant : variants_of(
               {.kernel = TunedKernel::kScores, .heads = heads, .rows = tokens, .columns = keys},
               132)) {
        expect_prefill({.tokens = tokens, .keys = keys, .heads = heads, .variant = variant},
                       engine);
        expect_prefill({.tokens = tokens,
                        .keys = keys,
                        .heads = heads,
                        .outside = OutsideScores::kMinusInfinity,
                        .ragged = true,
                        .variant = variant},
                       engine);
      }
    }
  }
}

struct PagedCase {
  std::vector<std::int32_t> lengths{};
  int q_len = 1;
  int heads = 64;
  OutsideScores outside = OutsideScores::kUntouched;
  std::int64_t every = 1;
  Variant variant = Variant::kDefault;
};

void expect_paged(const PagedCase& c, std::mt19937& engine) {
  const std::string what = "q_len " + std::to_string(c.q_len) + ", heads " +
                           std::to_string(c.heads) + ", " + std::string(name(c.variant));
  const auto batch = std::ssize(c.lengths);
  const std::int64_t rows = batch * c.q_len;
  const Queries queries(rows, c.heads, engine);
  const std::int64_t longest = *std::ranges::max_element(c.lengths);
  const std::int64_t table_stride = (longest + kPageTokens - 1) / kPageTokens + 2;
  const std::int64_t page_stride = kIndexPageBytes + 48;
  const std::int64_t page_count = batch * table_stride;
  std::vector<std::int32_t> table(page_count);
  std::iota(table.begin(), table.end(), 0);
  std::ranges::shuffle(table, engine);
  std::vector<std::uint8_t> pages(page_count * page_stride);
  std::normal_distribution<double> normal;
  for (std::int64_t page = 0; page < page_count; ++page) {
    std::uint8_t* bytes = &pages[page * page_stride];
    for (int i = 0; i < kIndexPageScaleOffset; ++i) bytes[i] = e4m3_from(normal(engine));
    for (int i = 0; i < kPageTokens; ++i) {
      const auto scale = static_cast<float>(std::exp(normal(engine)));
      std::memcpy(bytes + kIndexPageScaleOffset + 4 * i, &scale, 4);
    }
  }
  // Entries beyond a request's pages are garbage that nobody may follow.
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t i = (c.lengths[b] + kPageTokens - 1) / kPageTokens; i < table_stride; ++i)
      table[b * table_stride + i] = -1000000;
  }
  const std::int64_t columns = longest + 5;
  const std::int64_t stride = columns + 3;
  const auto d_q = on_device(queries.q);
  const auto d_weights = on_device(queries.weights);
  const auto d_pages = on_device(pages);
  const auto d_table = on_device(table);
  const auto d_lengths = on_device(c.lengths);
  const auto stream = value_of(gpu::Stream::create());
  auto scores = value_of(gpu::DeviceArray<float>::filled_with_byte((rows + 2) * stride, 0xcd));
  const PagedIndexerScoresParams params{.q = d_q.data(),
                                        .weights = d_weights.data(),
                                        .pages = d_pages.data(),
                                        .block_table = d_table.data(),
                                        .context_length = d_lengths.data(),
                                        .scores = scores.data() + stride,
                                        .batch = batch,
                                        .q_len = c.q_len,
                                        .heads = c.heads,
                                        .dim = kIndexDim,
                                        .max_context = columns,
                                        .page_stride_bytes = page_stride,
                                        .block_table_stride = table_stride,
                                        .scores_stride = stride,
                                        .outside = c.outside};
  const auto launched = paged_indexer_scores_variant(params, c.variant, stream.get());
  ASSERT_TRUE(launched.has_value()) << what << ": " << launched.error().message();
  const auto done = stream.synchronize();
  ASSERT_TRUE(done.has_value()) << what << ": " << done.error().message();
  const auto got = value_of(scores.to_host());
  Comparison comparison;
  for (std::int64_t t = -1; t <= rows; ++t) {
    const float* row = got.data() + (t + 1) * stride;
    const bool inside_rows = t >= 0 && t < rows;
    const std::int64_t b = inside_rows ? t / c.q_len : 0;
    const std::int64_t to =
        inside_rows ? std::max<std::int64_t>(0, c.lengths[b] - c.q_len + 1 + t % c.q_len) : 0;
    for (std::int64_t i = 0; i < stride; ++i) {
      if (inside_rows && i < to) {
        if ((t * stride + i) % c.every != 0) continue;
        const std::uint8_t* page = &pages[table[b * table_stride + i / kPageTokens] * page_stride];
        float scale = 0;
        std::memcpy(&scale, page + kIndexPageScaleOffset + 4 * (i % kPageTokens), 4);
        comparison.add(
            row[i],
            score_in_double(&queries.q[t * c.heads * kIndexDim], &queries.weights[t * c.heads],
                            c.heads, page + i % kPageTokens * kIndexDim, scale),
            t, i);
      } else {
        expect_outside(row[i], inside_rows && i < columns ? c.outside : OutsideScores::kUntouched,
                       what + ", row " + std::to_string(t) + ", column " + std::to_string(i));
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
  EXPECT_LE(comparison.worst, 1) << what << ": " << comparison.where;
}

TEST(PagedIndexerScoresGpuTest, MatchesDoubleForEveryQueryLength) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(31);
  for (const int heads : {8, 16, 32, 64}) {
    for (int q_len = 1; q_len <= 8; ++q_len) {
      expect_paged(
          {.lengths = {130, 0, 1, 63, 64, 65, 5},
           .q_len = q_len,
           .heads = heads,
           .outside = q_len % 2 == 0 ? OutsideScores::kMinusInfinity : OutsideScores::kUntouched},
          engine);
    }
  }
}

TEST(PagedIndexerScoresGpuTest, SharesLongRequestsOverAllSms) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(32);
  expect_paged({.lengths = {40000, 17, 9001, 0, 30000}, .every = 97}, engine);
  expect_paged({.lengths = {20000, 17, 9001}, .q_len = 2, .heads = 32, .every = 97}, engine);
  expect_paged({.lengths = {20000, 17, 9001}, .q_len = 8, .every = 331}, engine);
}

TEST(PagedIndexerScoresGpuTest, MatchesDoubleInEveryVariant) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(34);
  const std::vector<std::vector<std::int32_t>> batches = {
      {130, 0, 1, 63, 64, 65, 5}, {9001}, {0, 0}, std::vector<std::int32_t>(256, 70)};
  for (const int heads : {32, 64}) {
    for (const int q_len : {1, 2, 3, 4}) {
      for (const auto& lengths : batches) {
        for (const Variant variant : variants_of({.kernel = TunedKernel::kPagedScores,
                                                  .heads = heads,
                                                  .q_len = q_len,
                                                  .rows = std::ssize(lengths),
                                                  .columns = 9001},
                                                 132)) {
          expect_paged({.lengths = lengths,
                        .q_len = q_len,
                        .heads = heads,
                        .every = lengths.size() > 100 ? 17 : 1,
                        .variant = variant},
                       engine);
        }
      }
    }
  }
}

// A score does not depend on which kernel, which tile or which neighbours computed it.
TEST(PagedIndexerScoresGpuTest, GivesTheBitsOfThePrefillKernel) {
  DSAPERF_REQUIRE_GPU();
  std::mt19937 engine(33);
  constexpr int kHeads = 64;
  constexpr std::int64_t kKeys = 640;
  for (const int q_len : {1, 2, 4, 7}) {
    const Queries queries(q_len, kHeads, engine);
    std::vector<std::uint8_t> k(kKeys * kIndexDim);
    std::vector<float> k_scales(kKeys);
    std::normal_distribution<double> normal;
    for (auto& value : k) value = e4m3_from(normal(engine));
    for (auto& value : k_scales) value = static_cast<float>(std::exp(normal(engine)));
    std::vector<std::uint8_t> pages(kKeys / kPageTokens * kIndexPageBytes);
    std::vector<std::int32_t> table(kKeys / kPageTokens);
    for (std::size_t page = 0; page < table.size(); ++page) {
      std::uint8_t* bytes = &pages[page * kIndexPageBytes];
      std::memcpy(bytes, &k[page * kIndexPageScaleOffset], kIndexPageScaleOffset);
      std::memcpy(bytes + kIndexPageScaleOffset, &k_scales[page * kPageTokens], 4 * kPageTokens);
      table[page] = static_cast<std::int32_t>(page);
    }
    const std::vector<std::int32_t> start(q_len, 0);
    std::vector<std::int32_t> end(q_len);
    for (int j = 0; j < q_len; ++j) end[j] = static_cast<std::int32_t>(kKeys - q_len + 1 + j);
    const std::vector<std::int32_t> length{kKeys};
    const auto d_q = on_device(queries.q);
    const auto d_weights = on_device(queries.weights);
    const auto d_k = on_device(k);
    const auto d_scales = on_device(k_scales);
    const auto d_pages = on_device(pages);
    const auto d_table = on_device(table);
    const auto d_start = on_device(start);
    const auto d_end = on_device(end);
    const auto d_length = on_device(length);
    auto prefill = value_of(gpu::DeviceArray<float>::filled_with_byte(q_len * kKeys, 0xcd));
    auto paged = value_of(gpu::DeviceArray<float>::filled_with_byte(q_len * kKeys, 0xcd));
    const auto stream = value_of(gpu::Stream::create());
    ASSERT_TRUE(indexer_scores({.q = d_q.data(),
                                .weights = d_weights.data(),
                                .k = d_k.data(),
                                .k_scales = d_scales.data(),
                                .start = d_start.data(),
                                .end = d_end.data(),
                                .scores = prefill.data(),
                                .tokens = q_len,
                                .keys = kKeys,
                                .heads = kHeads,
                                .dim = kIndexDim,
                                .scores_stride = kKeys},
                               stream.get()));
    ASSERT_TRUE(paged_indexer_scores({.q = d_q.data(),
                                      .weights = d_weights.data(),
                                      .pages = d_pages.data(),
                                      .block_table = d_table.data(),
                                      .context_length = d_length.data(),
                                      .scores = paged.data(),
                                      .batch = 1,
                                      .q_len = q_len,
                                      .heads = kHeads,
                                      .dim = kIndexDim,
                                      .max_context = kKeys,
                                      .page_stride_bytes = kIndexPageBytes,
                                      .block_table_stride = kKeys / kPageTokens,
                                      .scores_stride = kKeys},
                                     nullptr, 0, stream.get()));
    const auto done = stream.synchronize();
    ASSERT_TRUE(done.has_value()) << done.error().message();
    const auto a = value_of(prefill.to_host());
    const auto b = value_of(paged.to_host());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << "q_len " << q_len;
  }
}

TEST(IndexerScoresGpuTest, RefusesWeightsThatTheCopyEngineCannotRead) {
  DSAPERF_REQUIRE_GPU();
  alignas(16) std::array<float, 16> memory{};  // never read
  const auto bytes = reinterpret_cast<const std::uint8_t*>(memory.data());
  const auto limits = reinterpret_cast<const std::int32_t*>(memory.data());
  const auto result = indexer_scores({.q = bytes,
                                      .weights = memory.data() + 1,
                                      .k = bytes,
                                      .k_scales = memory.data(),
                                      .start = limits,
                                      .end = limits,
                                      .scores = memory.data(),
                                      .tokens = 1,
                                      .keys = 1,
                                      .heads = 8,
                                      .dim = kIndexDim,
                                      .scores_stride = 1},
                                     nullptr);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), Errc::kUnsupported);
}

TEST(IndexerScoresGpuTest, AcceptsEmptyCalls) {
  DSAPERF_REQUIRE_GPU();
  EXPECT_TRUE(indexer_scores({.heads = 64, .dim = 128}, nullptr));
  EXPECT_TRUE(paged_indexer_scores({.heads = 64, .dim = 128}, nullptr, 0, nullptr));
}

}  // namespace
}  // namespace dsaperf::kernels
