// The kernels that work row by row, against their references.
#include "dsaperf/kernels/rows/cache.cuh"
#include "dsaperf/kernels/rows/norm.cuh"
#include "dsaperf/kernels/rows/norm_rope.cuh"
#include "dsaperf/kernels/rows/quantise.cuh"
#include "dsaperf/kernels/rows/rope.cuh"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"
#include "emulated_cuda.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <span>

namespace dsaperf::kernels::rows {
namespace {

// A multiple of 16 bytes that starts at one, as memory of the device does.
template <typename T>
struct alignas(16) Sixteen {
  T values[16 / sizeof(T)];
};
template <typename T>
class Aligned {
 public:
  explicit Aligned(const std::vector<T>& values) : Aligned(values.size(), T{}) {
    std::copy(values.begin(), values.end(), data());
  }
  Aligned(std::size_t size, T value) : blocks_(size * sizeof(T) / 16 + 1), size_(size) {
    std::fill_n(data(), size, value);
  }
  T* data() { return blocks_[0].values; }
  std::vector<T> values() { return {data(), data() + size_}; }

 private:
  std::vector<Sixteen<T>> blocks_;
  std::size_t size_;
};

// bf16 neighbours of f32 results: one unit in the last place of the rounded value.
void expect_near(const std::vector<std::uint16_t>& got, const std::vector<std::uint16_t>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double a = bf16_to_float(got[i]);
    const double b = bf16_to_float(want[i]);
    ASSERT_EQ(std::isnan(a), std::isnan(b)) << i;
    if (!std::isnan(a)) {
      ASSERT_NEAR(a, b, std::abs(b) * 0x1p-7 + 1e-6) << i;
    }
  }
}

std::vector<float> weights(int dim) {
  std::vector<float> values(dim);
  for (int i = 0; i < dim; ++i) values[i] = 0.5F + 0.01F * static_cast<float>(i % 100);
  return values;
}

// Values with zeros, a group of zeros, both signs of NaN, infinity, and one that rounds nowhere.
std::vector<std::uint16_t> awkward(std::int64_t size) {
  auto x = testing::normal_bf16(size, 3, 30);
  for (std::int64_t i = 0; i < size; i += 997) x[i] = 0;
  for (std::int64_t i = 128; i < 256 && i < size; ++i) x[i] = 0;
  if (size > 600) {
    x[300] = 0x7fc0;
    x[301] = 0xffc0;
    x[520] = bf16_from(-std::numeric_limits<double>::infinity());
  }
  if (size > 1200) x[1100] = bf16_from(448.0 * 4);
  return x;
}

template <int kTeam, int kPieces, int kTimes, typename Params>
void expect_norm(int rows, int dim, const auto& kernel, const auto& reference) {
  const std::int64_t stride = dim + 16;
  const auto x = testing::normal_bf16(rows * stride, 1, 3);
  Aligned<float> weight(weights(dim));
  auto want = x;
  Params params{};
  params.x = x.data();
  params.weight = weight.data();
  params.out = want.data();
  params.rows = rows;
  params.dim = dim;
  params.x_stride = params.out_stride = stride;
  params.eps = 1e-6F;
  if constexpr (kCentred<Params>) params.bias = weight.data();
  ASSERT_TRUE(reference(params));
  Aligned<std::uint16_t> got(x);
  params.x = got.data();
  params.out = got.data();
  for (const int grid : {1, 3}) {
    got = Aligned<std::uint16_t>(x);
    params.x = got.data();
    params.out = got.data();
    emulated::launch(grid, kNormThreads, 1, 1, [&] { kernel(params); });
    expect_near(got.values(), want);
  }
}

template <int kTeam, int kPieces, int kTimes>
void expect_norms(int rows, int dim) {
  SCOPED_TRACE(dim);
  expect_norm<kTeam, kPieces, kTimes, RmsNormParams>(
      rows, dim, norm_kernel<kTeam, kPieces, kTimes, RmsNormParams>, rms_norm_reference);
  expect_norm<kTeam, kPieces, kTimes, LayerNormParams>(
      rows, dim, norm_kernel<kTeam, kPieces, kTimes, LayerNormParams>, layer_norm_reference);
}

TEST(RowsEmulatedTest, NormsOfEveryTeamAgreeAndLeaveTheGapsAlone) {
  expect_norms<1, 1, 1>(9, 128);
  expect_norms<1, 1, 4>(70, 248);
  expect_norms<2, 1, 1>(5, 512);
  expect_norms<4, 1, 4>(9, 768);
  expect_norms<8, 1, 1>(2, 1536);
  expect_norms<8, 1, 4>(7, 2048);
  expect_norms<8, 4, 1>(3, 7168);
  expect_norm<0, 0, 0, RmsNormParams>(3, 100, norm_by_value_kernel<RmsNormParams>,
                                      rms_norm_reference);
  expect_norm<0, 0, 0, LayerNormParams>(3, 100, norm_by_value_kernel<LayerNormParams>,
                                        layer_norm_reference);
}

template <bool kWhole>
void expect_rope(RopePairs pairs, bool elsewhere) {
  const std::vector<std::int32_t> table_positions = {0, 1, 4095, 1'000'000};
  Aligned<float> table(rope_table(rope_frequencies({}, 64), table_positions));
  const std::vector<std::int32_t> positions = {3, 0, 2, 1, 3};
  const auto x = testing::normal_bf16(5 * 3 * 192, 2);
  Aligned<std::uint16_t> source(testing::normal_bf16(5 * 3 * 80, 4));
  auto want = x;
  RopeParams params{.x = want.data() + 128,
                    .cos_sin = table.data(),
                    .positions = positions.data(),
                    .tokens = 5,
                    .table_rows = 4,
                    .heads = 3,
                    .dim = 64,
                    .token_stride = 3 * 192,
                    .head_stride = 192,
                    .pairs = pairs};
  if (elsewhere) {
    params.source = source.data() + 16;
    params.source_token_stride = 3 * 80;
    params.source_head_stride = 80;
  }
  ASSERT_TRUE(rope_reference(params));
  Aligned<std::uint16_t> got(x);
  params.x = got.data() + 128;
  emulated::launch(2, kRopeThreads, 1, 1, [&] { rope_kernel<kWhole>(params); });
  expect_near(got.values(), want);
}

TEST(RowsEmulatedTest, RopeTurnsBothPairingsInPlaceAndFromElsewhere) {
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit}) {
    for (const bool elsewhere : {false, true}) {
      expect_rope<true>(pairs, elsewhere);
      expect_rope<false>(pairs, elsewhere);
    }
  }
}

template <bool kWhole, int kTimes>
void expect_groups(int dim) {
  SCOPED_TRACE(dim);
  const std::int64_t rows = 9;
  const int groups = (dim + 127) / 128;
  Aligned<std::uint16_t> x(awkward(rows * dim));
  std::vector<std::uint8_t> values(rows * dim + 8, 0x55);
  std::vector<float> scales(rows * groups + 1, -1);
  QuantiseGroupsParams params{.x = x.data(),
                              .values = values.data(),
                              .scales = scales.data(),
                              .rows = rows,
                              .dim = dim,
                              .x_stride = dim,
                              .values_stride = dim,
                              .scales_stride = groups};
  ASSERT_TRUE(quantise_groups_reference(params));
  Aligned<std::uint8_t> got(values.size(), 0x55);
  std::vector<float> got_scales(scales.size(), -1);
  params.values = got.data();
  params.scales = got_scales.data();
  emulated::launch(3, kQuantiseThreads, 1, 1,
                   [&] { quantise_groups_kernel<kWhole, kTimes>(params); });
  EXPECT_EQ(got_scales, scales);
  EXPECT_EQ(got.values(), values);
}

TEST(RowsEmulatedTest, QuantisedGroupsAreTheHostsBytes) {
  expect_groups<true, 1>(128);
  expect_groups<true, 4>(1536);
  expect_groups<true, 1>(200);
  expect_groups<false, 1>(131);
  expect_groups<false, 4>(1000);
}

TEST(RowsEmulatedTest, ScalesAreTheHostsAtEveryExponentAndAroundTheStep) {
  std::vector<float> magnitudes = {0,
                                   1e-4F,
                                   std::nextafter(1e-4F, 1.0F),
                                   1e-5F,
                                   std::numeric_limits<float>::max(),
                                   std::numeric_limits<float>::infinity()};
  for (int exponent = -20; exponent < 128; ++exponent) {
    const float step = std::ldexp(0.875F, exponent);
    magnitudes.insert(magnitudes.end(),
                      {step, std::nextafter(step, 0.0F), std::nextafter(step, INFINITY),
                       std::ldexp(0.5F, exponent), std::ldexp(0.99F, exponent)});
  }
  for (const auto format : {ScaleFormat::kUe8m0, ScaleFormat::kF32})
    for (const float magnitude : magnitudes)
      EXPECT_EQ(group_scale(magnitude, format), e4m3_scale(magnitude, format)) << magnitude;
}

template <bool kWhole, int kTimes>
void expect_index_rows(std::int64_t queries, std::int64_t keys) {
  const std::int64_t rows = queries + keys;
  Aligned<std::uint16_t> x(testing::normal_bf16(rows * 128, 4, 2));
  std::vector<float> weight(rows);
  for (std::int64_t i = 0; i < rows; ++i) weight[i] = 0.01F * static_cast<float>(i - 40);
  std::vector<std::uint8_t> values(rows * 128);
  std::vector<float> scales(rows), scaled(rows);
  IndexerQuantiseParams reference{.x = x.data(),
                                  .values = values.data(),
                                  .scales = scales.data(),
                                  .weights = weight.data(),
                                  .weights_out = scaled.data(),
                                  .rows = rows,
                                  .x_stride = 128,
                                  .weight_factor = 0.011F};
  ASSERT_TRUE(indexer_quantise_reference(reference));
  Aligned<std::uint8_t> got(rows * 128, 0x2a);
  std::vector<float> got_scales(rows, -1), got_scaled(rows, -1);
  auto first = reference;
  first.values = got.data();
  first.scales = got_scales.data();
  first.weights_out = got_scaled.data();
  first.rows = queries;
  auto second = first;
  second.x = x.data() + queries * 128;
  second.values = got.data() + queries * 128;
  second.scales = got_scales.data() + queries;
  second.weights = second.weights_out = nullptr;
  second.rows = keys;
  const unsigned first_blocks = 2;
  emulated::launch(first_blocks + 1, kQuantiseThreads, 1, 1,
                   [&] { indexer_quantise_kernel<kWhole, kTimes>(first, second, first_blocks); });
  const auto codes = got.values();
  int other_scales = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    other_scales += got_scales[row] != scales[row] ? 1 : 0;
    if (row < queries) {
      EXPECT_FLOAT_EQ(got_scaled[row] / got_scales[row], scaled[row] / scales[row]);
    }
    for (int i = 0; i < 128; ++i) {
      const double g = double{e4m3_to_float(codes[row * 128 + i])} * got_scales[row];
      const double w = double{e4m3_to_float(values[row * 128 + i])} * scales[row];
      // A value at the edge between two codes may fall to either.
      const double step =
          std::max(std::abs(w) * 0x1p-3, 0x1p-9 * std::max(got_scales[row], scales[row]));
      ASSERT_NEAR(g, w, step) << row << ", " << i;
    }
  }
  EXPECT_LE(other_scales, 1);
}

TEST(RowsEmulatedTest, IndexQueriesAndKeysOfOneLaunchAgreeToOneCode) {
  expect_index_rows<true, 1>(67, 5);
  expect_index_rows<true, 2>(200, 70);
  expect_index_rows<false, 1>(3, 40);
  expect_index_rows<true, 1>(33, 0);
}

template <bool kWhole>
void expect_cache_rows(KvRows::Format format) {
  const std::vector<std::int64_t> slots = {5, -1, 200, 63, 64, 1000000, 191};
  const auto tokens = static_cast<std::int64_t>(slots.size());
  constexpr std::int64_t kRows = 256;
  Aligned<std::uint16_t> latent(awkward(tokens * 512));
  Aligned<std::uint16_t> rope_part(testing::normal_bf16(tokens * 64, 6));
  const int row_bytes = format == KvRows::Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
  const std::int64_t stride = row_bytes + 16;
  std::vector<std::uint8_t> cache(kRows * stride, 0x2a);
  Aligned<std::uint8_t> got(cache);
  KvCacheWriteParams params{.latent = latent.data(),
                            .rope = rope_part.data(),
                            .slots = slots.data(),
                            .cache = cache.data(),
                            .tokens = tokens,
                            .rows = kRows,
                            .latent_stride = 512,
                            .rope_stride = 64,
                            .row_stride_bytes = stride,
                            .format = format};
  ASSERT_TRUE(kv_cache_write_reference(params));
  params.cache = got.data();
  emulated::launch(2, kCacheThreads, 1, 1, [&] { kv_cache_write_kernel<kWhole>(params); });
  EXPECT_EQ(got.values(), cache);
}

TEST(RowsEmulatedTest, CacheRowsAreTheHostsBytesAndNothingElseIsTouched) {
  for (const auto format : {KvRows::Format::kBf16, KvRows::Format::kFp8}) {
    expect_cache_rows<true>(format);
    expect_cache_rows<false>(format);
  }
}

template <bool kWhole>
void expect_index_keys() {
  constexpr std::int64_t kTokens = 130, kPages = 5;
  Aligned<std::uint8_t> values(kTokens * 128, 0);
  std::vector<float> scales(kTokens);
  std::vector<std::int64_t> slots(kTokens);
  const std::vector<std::int32_t> table = {4, 0, 2};
  for (std::int64_t t = 0; t < kTokens; ++t) {
    for (int i = 0; i < 128; ++i) values.data()[t * 128 + i] = static_cast<std::uint8_t>(t * 7 + i);
    scales[t] = 0.5F + static_cast<float>(t);
    slots[t] = table[t / 64] * 64 + t % 64;
  }
  std::vector<std::uint8_t> pages(kPages * kIndexPageBytes, 0x2a);
  Aligned<std::uint8_t> got(pages);
  IndexKeyCacheWriteParams write{.values = values.data(),
                                 .scales = scales.data(),
                                 .slots = slots.data(),
                                 .pages = pages.data(),
                                 .tokens = kTokens,
                                 .page_count = kPages,
                                 .page_stride_bytes = kIndexPageBytes};
  ASSERT_TRUE(index_key_cache_write_reference(write));
  write.pages = got.data();
  emulated::launch(3, kCacheThreads, 1, 1, [&] { index_key_cache_write_kernel<kWhole>(write); });
  EXPECT_EQ(got.values(), pages);

  Aligned<std::uint8_t> gathered(kTokens * 128, 0);
  std::vector<float> gathered_scales(kTokens);
  const GatherIndexKeysParams gather{.pages = got.data(),
                                     .block_table = table.data(),
                                     .values = gathered.data(),
                                     .scales = gathered_scales.data(),
                                     .tokens = kTokens,
                                     .page_count = kPages,
                                     .page_stride_bytes = kIndexPageBytes};
  emulated::launch(3, kCacheThreads, 1, 1, [&] { gather_index_keys_kernel<kWhole>(gather); });
  EXPECT_EQ(gathered.values(), values.values());
  EXPECT_EQ(gathered_scales, scales);
}

TEST(RowsEmulatedTest, IndexKeysGoIntoTheirPagesAndComeOut) {
  expect_index_keys<true>();
  expect_index_keys<false>();
}

TEST(RowsEmulatedTest, PositionsBecomeRowsOfTheCache) {
  Aligned<std::int32_t> positions(std::vector<std::int32_t>{0, 63, 64, -1, 130, 191, 192, 5});
  const std::vector<std::int32_t> request = {1, 0};
  const std::vector<std::int32_t> table = {9, 8, 7, 100, 200, 33'000'000 / 64};
  std::vector<std::int32_t> want(8);
  SelectionRowsParams params{.positions = positions.data(),
                             .request = request.data(),
                             .block_table = table.data(),
                             .rows = want.data(),
                             .tokens = 2,
                             .topk = 4,
                             .positions_stride = 4,
                             .rows_stride = 4,
                             .block_table_stride = 3};
  ASSERT_TRUE(selection_rows_reference(params));
  Aligned<std::int32_t> got(8, 7);
  params.rows = got.data();
  emulated::launch(1, kCacheThreads, 1, 1, [&] { selection_rows_kernel<true>(params); });
  EXPECT_EQ(got.values(), want);
  params.rows = positions.data();  // in place
  emulated::launch(1, kCacheThreads, 1, 1, [&] { selection_rows_kernel<false>(params); });
  EXPECT_EQ(positions.values(), want);
}

// Against the kernels of the parts, which others of these tests compare with the references.
template <int kTimes>
void expect_norm_rope(int tokens, int q_lora) {
  SCOPED_TRACE(q_lora);
  Aligned<std::uint16_t> q_a(awkward(std::int64_t{tokens} * q_lora));
  Aligned<std::uint16_t> kv(testing::normal_bf16(tokens * 576, 8));
  Aligned<float> weight(weights(2048));
  std::vector<std::int32_t> positions(tokens);
  for (int t = 0; t < tokens; ++t) positions[t] = 1000 * (t % 3);
  std::vector<std::int32_t> table_positions(2001);
  for (int t = 0; t <= 2000; ++t) table_positions[t] = t;
  Aligned<float> table(rope_table(rope_frequencies({}, 64), table_positions));
  const int groups = (q_lora + 127) / 128;
  struct Outputs {
    Aligned<std::uint16_t> q_r, latent, k_rope;
    Aligned<std::uint8_t> codes;
    std::vector<float> scales;
  };
  const auto outputs = [&] {
    return Outputs{Aligned<std::uint16_t>(tokens * q_lora, 7),
                   Aligned<std::uint16_t>(tokens * 512, 7), Aligned<std::uint16_t>(tokens * 64, 7),
                   Aligned<std::uint8_t>(tokens * q_lora, 7),
                   std::vector<float>(tokens * groups, -1)};
  };
  const auto params_of = [&](Outputs& to) {
    return NormRopeParams{.query = {.x = q_a.data(),
                                    .weight = weight.data(),
                                    .out = to.q_r.data(),
                                    .rows = tokens,
                                    .dim = q_lora,
                                    .x_stride = q_lora,
                                    .out_stride = q_lora,
                                    .eps = 1e-6F},
                          .quantised = {.x = to.q_r.data(),
                                        .values = to.codes.data(),
                                        .scales = to.scales.data(),
                                        .rows = tokens,
                                        .dim = q_lora,
                                        .x_stride = q_lora,
                                        .values_stride = q_lora,
                                        .scales_stride = groups},
                          .latent = {.x = kv.data(),
                                     .weight = weight.data(),
                                     .out = to.latent.data(),
                                     .rows = tokens,
                                     .dim = 512,
                                     .x_stride = 576,
                                     .out_stride = 512,
                                     .eps = 1e-6F},
                          .key = {.x = to.k_rope.data(),
                                  .cos_sin = table.data(),
                                  .positions = positions.data(),
                                  .tokens = tokens,
                                  .table_rows = 2001,
                                  .heads = 1,
                                  .dim = 64,
                                  .token_stride = 64,
                                  .head_stride = 64,
                                  .source = kv.data() + 512,
                                  .source_token_stride = 576}};
  };
  Outputs want = outputs();
  const auto parts = params_of(want);
  ASSERT_TRUE(norm_rope_check(parts));
  emulated::launch(2, kNormThreads, 1, 1, [&] { norm_kernel<8, 1, 1>(parts.query); });
  emulated::launch(2, kNormThreads, 1, 1, [&] { norm_kernel<2, 1, 1>(parts.latent); });
  emulated::launch(1, kRopeThreads, 1, 1, [&] { rope_kernel<true>(parts.key); });
  emulated::launch(2, kQuantiseThreads, 1, 1,
                   [&] { quantise_groups_kernel<true, 1>(parts.quantised); });
  Outputs got = outputs();
  const auto whole = params_of(got);
  emulated::launch(5, kNormThreads, 1, 1,
                   [&] { norm_rope_kernel<kTimes>(whole, {.first = 2, .second = 2}); });
  EXPECT_EQ(got.q_r.values(), want.q_r.values());
  EXPECT_EQ(got.latent.values(), want.latent.values());
  EXPECT_EQ(got.k_rope.values(), want.k_rope.values());
  EXPECT_EQ(got.codes.values(), want.codes.values());
  EXPECT_EQ(got.scales, want.scales);
}

TEST(RowsEmulatedTest, NormsRopeAndQuantisationOfOneLaunchAreThoseOfTheParts) {
  expect_norm_rope<1>(1, 1536);
  expect_norm_rope<1>(5, 2048);
  expect_norm_rope<4>(11, 1400);
}

TEST(RowsEmulatedTest, IndexQueriesAndKeysOfOneLaunchAreThoseOfTheParts) {
  constexpr int kTokens = 13, kHeads = 8;
  const auto raw = testing::normal_bf16(kTokens * 128, 9);
  Aligned<std::uint16_t> key_raw(raw);
  Aligned<float> weight(weights(128));
  std::vector<std::int32_t> positions(kTokens);
  for (int t = 0; t < kTokens; ++t) positions[t] = t;
  Aligned<float> table(rope_table(rope_frequencies({}, 64), positions));
  const auto query = testing::normal_bf16(kTokens * kHeads * 128, 10);
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit}) {
    Aligned<std::uint16_t> want_query(query), got_query(query);
    Aligned<std::uint16_t> want_key(kTokens * 128, 7), got_key(kTokens * 128, 7);
    const auto params_of = [&](std::uint16_t* queries, std::uint16_t* keys) {
      const RopeParams rope{.x = queries,
                            .cos_sin = table.data(),
                            .positions = positions.data(),
                            .tokens = kTokens,
                            .table_rows = kTokens,
                            .heads = kHeads,
                            .dim = 64,
                            .token_stride = kHeads * 128,
                            .head_stride = 128,
                            .pairs = pairs};
      auto key_rope = rope;
      key_rope.x = keys;
      key_rope.heads = 1;
      key_rope.token_stride = 128;
      return IndexerNormRopeParams{.query = rope,
                                   .key_norm = {.x = key_raw.data(),
                                                .weight = weight.data(),
                                                .bias = weight.data(),
                                                .out = keys,
                                                .rows = kTokens,
                                                .dim = 128,
                                                .x_stride = 128,
                                                .out_stride = 128,
                                                .eps = 1e-6F},
                                   .key = key_rope};
    };
    const auto parts = params_of(want_query.data(), want_key.data());
    ASSERT_TRUE(indexer_norm_rope_check(parts));
    emulated::launch(2, kRopeThreads, 1, 1, [&] { rope_kernel<true>(parts.query); });
    emulated::launch(1, kNormThreads, 1, 1, [&] { norm_kernel<1, 1, 1>(parts.key_norm); });
    emulated::launch(1, kRopeThreads, 1, 1, [&] { rope_kernel<true>(parts.key); });
    const auto whole = params_of(got_query.data(), got_key.data());
    emulated::launch(3, kNormThreads, 1, 1, [&] { indexer_norm_rope_kernel<1>(whole, 2); });
    EXPECT_EQ(got_query.values(), want_query.values());
    EXPECT_EQ(got_key.values(), want_key.values());
  }
}

}  // namespace
}  // namespace dsaperf::kernels::rows
