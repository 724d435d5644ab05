#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

// Every stage that works row by row against its reference. Copies, integers and quantisation with
// powers of two are exact; norms, rope and the Hadamard transform are f32 where the reference is
// double.
namespace dsaperf::kernels {
namespace {

using gpu::DeviceArray;

template <typename T>
DeviceArray<T> device(const std::vector<T>& host) {
  return std::move(*DeviceArray<T>::copy_of(host));
}

void finish(const Result<void>& launched) {
  ASSERT_TRUE(launched) << launched.error().message();
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// bf16 neighbours of f32 results: one unit in the last place of the rounded value.
void expect_bf16_near(const std::vector<std::uint16_t>& got,
                      const std::vector<std::uint16_t>& want) {
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

TEST(RowStagesGpuTest, NormsAgreeAndLeaveTheGapsBetweenRowsAlone) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [rows, dim] : {std::pair{1, 128},
                                  {7, 512},
                                  {300, 1536},
                                  {3, 100},
                                  {9, 1000},
                                  {1100, 2048},
                                  {2, 7168},
                                  {2, 9000}}) {
    const std::int64_t stride = dim + 16;
    auto x = testing::normal_bf16(rows * stride, 1, 3);
    const auto weight = [&] {
      std::vector<float> values(dim);
      for (int i = 0; i < dim; ++i) values[i] = 0.5F + 0.01F * static_cast<float>(i % 100);
      return values;
    }();
    auto want = x;
    RmsNormParams rms{.x = x.data(),
                      .weight = weight.data(),
                      .out = want.data(),
                      .rows = rows,
                      .dim = dim,
                      .x_stride = stride,
                      .out_stride = stride,
                      .eps = 1e-6F};
    ASSERT_TRUE(rms_norm_reference(rms));
    const auto d_x = device(x);
    const auto d_weight = device(weight);
    rms.x = d_x.data();
    rms.out = d_x.data();  // in place
    rms.weight = d_weight.data();
    finish(rms_norm(rms, nullptr));
    expect_bf16_near(*d_x.to_host(), want);

    auto d_y = device(x);
    want = x;
    LayerNormParams layer{.x = x.data(),
                          .weight = weight.data(),
                          .bias = weight.data(),
                          .out = want.data(),
                          .rows = rows,
                          .dim = dim,
                          .x_stride = stride,
                          .out_stride = stride,
                          .eps = 1e-6F};
    ASSERT_TRUE(layer_norm_reference(layer));
    layer.x = d_y.data();
    layer.out = d_y.data();
    layer.weight = d_weight.data();
    layer.bias = d_weight.data();
    finish(layer_norm(layer, nullptr));
    expect_bf16_near(*d_y.to_host(), want);
  }
}

TEST(RowStagesGpuTest, RopeTurnsBothPairingsAtAnyPosition) {
  DSAPERF_REQUIRE_GPU();
  const std::vector<std::int32_t> table_positions = {0, 1, 4095, 1'000'000};
  const auto table = rope_table(rope_frequencies({}, 64), table_positions);
  const std::vector<std::int32_t> positions = {3, 0, 2, 1, 3};
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit}) {
    const auto x = testing::normal_bf16(5 * 3 * 192, 2);
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
    ASSERT_TRUE(rope_reference(params));
    const auto d_x = device(x);
    const auto d_table = device(table);
    const auto d_positions = device(positions);
    params.x = d_x.data() + 128;
    params.cos_sin = d_table.data();
    params.positions = d_positions.data();
    finish(rope(params, nullptr));
    expect_bf16_near(*d_x.to_host(), want);

    const auto d_elsewhere = device(std::vector<std::uint16_t>(x));
    const auto d_source = device(x);
    params.x = d_elsewhere.data() + 128;
    params.source = d_source.data() + 128;
    params.source_token_stride = params.token_stride;
    params.source_head_stride = params.head_stride;
    finish(rope(params, nullptr));
    EXPECT_EQ(*d_elsewhere.to_host(), *d_x.to_host());
  }
}

std::vector<std::uint16_t> awkward_bf16(std::int64_t size) {
  auto x = testing::normal_bf16(size, 3, 30);
  for (std::int64_t i = 0; i < size; i += 997) x[i] = 0;
  for (std::int64_t i = 128; i < 256 && i < size; ++i) x[i] = 0;  // a group of zeros
  if (size > 600) x[300] = bf16_from(std::numeric_limits<double>::quiet_NaN());
  if (size > 600) x[520] = bf16_from(-std::numeric_limits<double>::infinity());
  if (size > 1200) x[1100] = bf16_from(448.0 * 4);  // exactly representable: no rounding up
  return x;
}

TEST(RowStagesGpuTest, QuantisedGroupsAreTheHostsBytes) {
  DSAPERF_REQUIRE_GPU();
  for (const int dim : {128, 192, 1536, 7168}) {
    const std::int64_t rows = 9;
    const int groups = (dim + 127) / 128;
    const auto x = awkward_bf16(rows * dim);
    std::vector<std::uint8_t> values(rows * dim, 0x55);
    std::vector<float> scales(rows * groups, -1);
    QuantiseGroupsParams params{.x = x.data(),
                                .values = values.data(),
                                .scales = scales.data(),
                                .rows = rows,
                                .dim = dim,
                                .x_stride = dim,
                                .values_stride = dim,
                                .scales_stride = groups};
    ASSERT_TRUE(quantise_groups_reference(params));
    const auto d_x = device(x);
    const auto d_values = *DeviceArray<std::uint8_t>::filled_with_byte(values.size(), 0x2a);
    const auto d_scales = *DeviceArray<float>::filled_with_byte(scales.size(), 0x2a);
    params.x = d_x.data();
    params.values = d_values.data();
    params.scales = d_scales.data();
    finish(quantise_groups(params, nullptr));
    EXPECT_EQ(*d_scales.to_host(), scales) << dim;
    EXPECT_EQ(*d_values.to_host(), values) << dim;
  }
}

// Tokens few and many, queries whose length has a launch of its own and one that has not.
TEST(RowStagesGpuTest, StagesOfOneLaunchGiveTheBitsOfTheirParts) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [tokens, q_lora] : {std::pair{1, 1536}, {130, 2048}, {1500, 1536}, {5, 96}}) {
    SCOPED_TRACE(tokens);
    const int groups = (q_lora + 127) / 128;
    const std::int64_t n = tokens;
    const auto q_a = device(awkward_bf16(n * q_lora));
    const auto kv = device(testing::normal_bf16(n * 576, 8));
    const auto raw_key = device(testing::normal_bf16(n * 128, 9));
    const auto index_query = device(testing::normal_bf16(n * 64 * 128, 10));
    const auto index_query_of_parts = device(*index_query.to_host());
    const auto weight = device(std::vector<float>(2048, 0.7F));
    std::vector<std::int32_t> rows(n);
    for (int t = 0; t < tokens; ++t) rows[t] = t;
    const auto positions = device(rows);
    const auto table = device(rope_table(rope_frequencies({}, 64), rows));
    const auto head_weights = device(std::vector<float>(n * 64, 0.25F));
    struct Outputs {
      DeviceArray<std::uint16_t> q_r, latent, k_rope, key;
      DeviceArray<std::uint8_t> q_r_codes, query_codes, key_codes;
      DeviceArray<float> q_r_scales, head_weights, key_scales;
    };
    const auto bits = [](std::int64_t size) { return device(std::vector<std::uint16_t>(size, 7)); };
    const auto codes = [](std::int64_t size) { return device(std::vector<std::uint8_t>(size, 7)); };
    const auto floats = [](std::int64_t size) { return device(std::vector<float>(size, -1)); };
    const auto outputs = [&] {
      return Outputs{bits(n * q_lora), bits(n * 512),      bits(n * 64),
                     bits(n * 128),    codes(n * q_lora),  codes(n * 64 * 128),
                     codes(n * 128),   floats(n * groups), floats(n * 64),
                     floats(n)};
    };
    const auto norm_rope_of = [&, tokens = tokens, q_lora = q_lora](const Outputs& to) {
      return NormRopeParams{.query = {.x = q_a.data(),
                                      .weight = weight.data(),
                                      .out = to.q_r.data(),
                                      .rows = tokens,
                                      .dim = q_lora,
                                      .x_stride = q_lora,
                                      .out_stride = q_lora,
                                      .eps = 1e-6F},
                            .quantised = {.x = to.q_r.data(),
                                          .values = to.q_r_codes.data(),
                                          .scales = to.q_r_scales.data(),
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
                                    .table_rows = tokens,
                                    .heads = 1,
                                    .dim = 64,
                                    .token_stride = 64,
                                    .source = kv.data() + 512,
                                    .source_token_stride = 576}};
    };
    const auto indexer_of = [&, tokens = tokens](const Outputs& to,
                                                 const DeviceArray<std::uint16_t>& query) {
      const RopeParams rope{.x = query.data(),
                            .cos_sin = table.data(),
                            .positions = positions.data(),
                            .tokens = tokens,
                            .table_rows = tokens,
                            .heads = 64,
                            .dim = 64,
                            .token_stride = 64 * 128,
                            .head_stride = 128,
                            .pairs = RopePairs::kHalfSplit};
      auto key = rope;
      key.x = to.key.data();
      key.heads = 1;
      key.token_stride = 128;
      return IndexerNormRopeParams{.query = rope,
                                   .key_norm = {.x = raw_key.data(),
                                                .weight = weight.data(),
                                                .bias = weight.data(),
                                                .out = to.key.data(),
                                                .rows = tokens,
                                                .dim = 128,
                                                .x_stride = 128,
                                                .out_stride = 128,
                                                .eps = 1e-6F},
                                   .key = key};
    };
    const auto queries_of = [&](const Outputs& to, const DeviceArray<std::uint16_t>& query) {
      return IndexerQuantiseParams{.x = query.data(),
                                   .values = to.query_codes.data(),
                                   .weights = head_weights.data(),
                                   .weights_out = to.head_weights.data(),
                                   .rows = n * 64,
                                   .x_stride = 128,
                                   .weight_factor = 0.011F};
    };
    const auto keys_of = [&](const Outputs& to) {
      return IndexerQuantiseParams{.x = to.key.data(),
                                   .values = to.key_codes.data(),
                                   .scales = to.key_scales.data(),
                                   .rows = n,
                                   .x_stride = 128};
    };
    const auto want = outputs();
    const auto parts = norm_rope_of(want);
    finish(rms_norm(parts.query, nullptr));
    finish(quantise_groups(parts.quantised, nullptr));
    finish(rms_norm(parts.latent, nullptr));
    finish(rope(parts.key, nullptr));
    const auto indexer_parts = indexer_of(want, index_query_of_parts);
    finish(rope(indexer_parts.query, nullptr));
    finish(layer_norm(indexer_parts.key_norm, nullptr));
    finish(rope(indexer_parts.key, nullptr));
    finish(indexer_quantise(queries_of(want, index_query_of_parts), nullptr));
    finish(indexer_quantise(keys_of(want), nullptr));

    const auto got = outputs();
    finish(norm_rope(norm_rope_of(got), nullptr));
    finish(indexer_norm_rope(indexer_of(got, index_query), nullptr));
    finish(indexer_quantise_both(queries_of(got, index_query), keys_of(got), nullptr));
    EXPECT_EQ(*got.q_r.to_host(), *want.q_r.to_host());
    EXPECT_EQ(*got.q_r_codes.to_host(), *want.q_r_codes.to_host());
    EXPECT_EQ(*got.q_r_scales.to_host(), *want.q_r_scales.to_host());
    EXPECT_EQ(*got.latent.to_host(), *want.latent.to_host());
    EXPECT_EQ(*got.k_rope.to_host(), *want.k_rope.to_host());
    EXPECT_EQ(*index_query.to_host(), *index_query_of_parts.to_host());
    EXPECT_EQ(*got.key.to_host(), *want.key.to_host());
    EXPECT_EQ(*got.query_codes.to_host(), *want.query_codes.to_host());
    EXPECT_EQ(*got.head_weights.to_host(), *want.head_weights.to_host());
    EXPECT_EQ(*got.key_codes.to_host(), *want.key_codes.to_host());
    EXPECT_EQ(*got.key_scales.to_host(), *want.key_scales.to_host());
  }
}

// The transform is exact in the reference and f32 here: a value at the edge between two codes may
// fall to either, and a group's largest value at a power of two may double its scale.
TEST(RowStagesGpuTest, IndexQueriesAndTheirWeightsAgreeToOneCode) {
  DSAPERF_REQUIRE_GPU();
  const std::int64_t rows = 640;
  const auto x = testing::normal_bf16(rows * 128, 4, 2);
  std::vector<float> weights(rows);
  for (std::int64_t i = 0; i < rows; ++i) weights[i] = 0.01F * static_cast<float>(i - 300);
  std::vector<std::uint8_t> values(rows * 128);
  std::vector<float> scales(rows), scaled(rows);
  IndexerQuantiseParams params{.x = x.data(),
                               .values = values.data(),
                               .scales = scales.data(),
                               .weights = weights.data(),
                               .weights_out = scaled.data(),
                               .rows = rows,
                               .x_stride = 128,
                               .weight_factor = 0.011F};
  ASSERT_TRUE(indexer_quantise_reference(params));
  const auto d_x = device(x);
  const auto d_weights = device(weights);
  const auto d_values = *DeviceArray<std::uint8_t>::filled_with_byte(values.size(), 0x2a);
  const auto d_scales = *DeviceArray<float>::filled_with_byte(rows, 0x2a);
  params.x = d_x.data();
  params.values = d_values.data();
  params.scales = d_scales.data();
  params.weights = d_weights.data();
  params.weights_out = d_weights.data();  // in place
  finish(indexer_quantise(params, nullptr));
  const auto got_values = *d_values.to_host();
  const auto got_scales = *d_scales.to_host();
  const auto got_weights = *d_weights.to_host();
  int other_scales = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    other_scales += got_scales[row] != scales[row] ? 1 : 0;
    EXPECT_FLOAT_EQ(got_weights[row] / got_scales[row], scaled[row] / scales[row]);
    for (int i = 0; i < 128; ++i) {
      const double got = double{e4m3_to_float(got_values[row * 128 + i])} * got_scales[row];
      const double want = double{e4m3_to_float(values[row * 128 + i])} * scales[row];
      const double step =
          std::max(std::abs(want) * 0x1p-3, 0x1p-9 * std::max(got_scales[row], scales[row]));
      ASSERT_NEAR(got, want, step) << row << ", " << i;
    }
  }
  EXPECT_LE(other_scales, 2) << "of " << rows;
}

TEST(RowStagesGpuTest, CacheRowsAreTheHostsBytesAndNothingElseIsTouched) {
  DSAPERF_REQUIRE_GPU();
  const std::vector<std::int64_t> slots = {5,  -1,      200, 63,
                                           64, 1000000, 191};  // beyond the cache: skipped
  const auto tokens = static_cast<std::int64_t>(slots.size());
  constexpr std::int64_t kRows = 256;
  const auto latent = awkward_bf16(tokens * 512);
  const auto rope_part = testing::normal_bf16(tokens * 64, 6);
  for (const auto format : {KvRows::Format::kBf16, KvRows::Format::kFp8}) {
    const int row_bytes = format == KvRows::Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
    const std::int64_t stride = row_bytes + 16;
    std::vector<std::uint8_t> cache(kRows * stride, 0x2a);
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
    const auto d_cache = device(cache);
    ASSERT_TRUE(kv_cache_write_reference(params));
    const auto d_latent = device(latent);
    const auto d_rope = device(rope_part);
    const auto d_slots = device(slots);
    params.latent = d_latent.data();
    params.rope = d_rope.data();
    params.slots = d_slots.data();
    params.cache = d_cache.data();
    finish(kv_cache_write(params, nullptr));
    EXPECT_EQ(*d_cache.to_host(), cache);
  }
}

TEST(RowStagesGpuTest, IndexKeysGoIntoTheirPagesAndComeOut) {
  DSAPERF_REQUIRE_GPU();
  constexpr std::int64_t kTokens = 130, kPages = 5;
  std::vector<std::uint8_t> values(kTokens * 128);
  std::vector<float> scales(kTokens);
  std::vector<std::int64_t> slots(kTokens);
  const std::vector<std::int32_t> table = {4, 0, 2};
  for (std::int64_t t = 0; t < kTokens; ++t) {
    for (int i = 0; i < 128; ++i) values[t * 128 + i] = static_cast<std::uint8_t>(t * 7 + i);
    scales[t] = 0.5F + static_cast<float>(t);
    slots[t] = table[t / 64] * 64 + t % 64;
  }
  std::vector<std::uint8_t> pages(kPages * kIndexPageBytes, 0x2a);
  const auto d_pages = device(pages);
  IndexKeyCacheWriteParams write{.values = values.data(),
                                 .scales = scales.data(),
                                 .slots = slots.data(),
                                 .pages = pages.data(),
                                 .tokens = kTokens,
                                 .page_count = kPages,
                                 .page_stride_bytes = kIndexPageBytes};
  ASSERT_TRUE(index_key_cache_write_reference(write));
  const auto d_values = device(values);
  const auto d_scales = device(scales);
  const auto d_slots = device(slots);
  write.values = d_values.data();
  write.scales = d_scales.data();
  write.slots = d_slots.data();
  write.pages = d_pages.data();
  finish(index_key_cache_write(write, nullptr));
  EXPECT_EQ(*d_pages.to_host(), pages);

  const auto d_table = device(table);
  const auto d_gathered = *DeviceArray<std::uint8_t>::filled_with_byte(values.size(), 0);
  const auto d_gathered_scales = *DeviceArray<float>::filled_with_byte(kTokens, 0);
  finish(gather_index_keys({.pages = d_pages.data(),
                            .block_table = d_table.data(),
                            .values = d_gathered.data(),
                            .scales = d_gathered_scales.data(),
                            .tokens = kTokens,
                            .page_count = kPages,
                            .page_stride_bytes = kIndexPageBytes},
                           nullptr));
  EXPECT_EQ(*d_gathered.to_host(), values);
  EXPECT_EQ(*d_gathered_scales.to_host(), scales);
}

TEST(RowStagesGpuTest, PositionsBecomeRowsOfTheCache) {
  DSAPERF_REQUIRE_GPU();
  const std::vector<std::int32_t> positions = {0, 63, 64, -1, 130, 191, 192, 5};
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
  const auto d_positions = device(positions);
  const auto d_request = device(request);
  const auto d_table = device(table);
  params.positions = d_positions.data();
  params.rows = d_positions.data();  // in place
  params.request = d_request.data();
  params.block_table = d_table.data();
  finish(selection_rows(params, nullptr));
  EXPECT_EQ(*d_positions.to_host(), want);
}

TEST(RowStagesGpuTest, NothingToDoIsNoError) {
  DSAPERF_REQUIRE_GPU();
  EXPECT_TRUE(rms_norm({.dim = 128, .eps = 1e-6F}, nullptr));
  EXPECT_TRUE(kv_cache_write({}, nullptr));
  EXPECT_TRUE(gather_index_keys({}, nullptr));
}

}  // namespace
}  // namespace dsaperf::kernels
