#pragma once

#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

// What every kernel that works row by row must give, wherever it runs: `run` takes parameters over
// Memory<T>, which is made of a vector, starts at a multiple of 16 bytes and has data() and
// values(). Copies, integers and quantisation with powers of two are exact; norms, rope and the
// Hadamard transform are f32 where the reference is double.
namespace dsaperf::kernels::testing {

// bf16 neighbours of f32 results: one unit in the last place of the rounded value.
inline void expect_bf16_near(const std::vector<std::uint16_t>& got,
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

inline std::vector<float> norm_weights(int dim) {
  std::vector<float> values(dim);
  for (int i = 0; i < dim; ++i) values[i] = 0.5F + 0.01F * static_cast<float>(i % 100);
  return values;
}

// Values with zeros, a group of zeros, NaN of both signs, infinity, and one that needs no rounding
// up.
inline std::vector<std::uint16_t> awkward_bf16(std::int64_t size) {
  auto x = normal_bf16(size, 3, 30);
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

// In place, with gaps between rows, which stay as they are.
template <template <class> class Memory, typename Params>
void expect_norm(int rows, int dim, const auto& reference, const auto& run) {
  SCOPED_TRACE(dim);
  const std::int64_t stride = dim + 16;
  const auto x = normal_bf16(rows * stride, 1, 3);
  const auto weight = norm_weights(dim);
  auto want = x;
  Params params{};
  params.x = x.data();
  params.weight = weight.data();
  params.out = want.data();
  params.rows = rows;
  params.dim = dim;
  params.x_stride = params.out_stride = stride;
  params.eps = 1e-6F;
  constexpr bool kBias = std::is_same_v<Params, LayerNormParams>;
  if constexpr (kBias) params.bias = weight.data();
  ASSERT_TRUE(reference(params));
  Memory<std::uint16_t> got(x);
  Memory<float> run_weight(weight);
  params.x = got.data();
  params.out = got.data();
  params.weight = run_weight.data();
  if constexpr (kBias) params.bias = run_weight.data();
  run(params);
  expect_bf16_near(got.values(), want);
}

template <template <class> class Memory>
void expect_norms(int rows, int dim, const auto& run) {
  expect_norm<Memory, RmsNormParams>(rows, dim, rms_norm_reference, run);
  expect_norm<Memory, LayerNormParams>(rows, dim, layer_norm_reference, run);
}

// Part of rows of several heads, at positions near and far: in place, and out of a source.
template <template <class> class Memory>
void expect_rope(RopePairs pairs, const auto& run) {
  const auto table = rope_table(rope_frequencies({}, 64), {0, 1, 4095, 1'000'000});
  const std::vector<std::int32_t> positions = {3, 0, 2, 1, 3};
  const auto x = normal_bf16(5 * 3 * 192, 2);
  const auto source = normal_bf16(5 * 3 * 80, 4);
  Memory<float> run_table(table);
  Memory<std::int32_t> run_positions(positions);
  Memory<std::uint16_t> run_source(source);
  for (const bool elsewhere : {false, true}) {
    SCOPED_TRACE(elsewhere);
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
    Memory<std::uint16_t> got(x);
    params.x = got.data() + 128;
    params.cos_sin = run_table.data();
    params.positions = run_positions.data();
    if (elsewhere) params.source = run_source.data() + 16;
    run(params);
    expect_bf16_near(got.values(), want);
  }
}

template <template <class> class Memory>
void expect_groups(int dim, const auto& run) {
  SCOPED_TRACE(dim);
  const std::int64_t rows = 9;
  const int groups = (dim + 127) / 128;
  const auto x = awkward_bf16(rows * dim);
  std::vector<std::uint8_t> values(rows * dim + 8, 0x55);  // more than is written
  std::vector<float> scales(rows * groups + 1, -1);
  Memory<std::uint16_t> run_x(x);
  Memory<std::uint8_t> got_values(values);
  Memory<float> got_scales(scales);
  QuantiseGroupsParams params{.x = x.data(),
                              .values = values.data(),
                              .scales = scales.data(),
                              .rows = rows,
                              .dim = dim,
                              .x_stride = dim,
                              .values_stride = dim,
                              .scales_stride = groups};
  ASSERT_TRUE(quantise_groups_reference(params));
  params.x = run_x.data();
  params.values = got_values.data();
  params.scales = got_scales.data();
  run(params);
  EXPECT_EQ(got_scales.values(), scales);
  EXPECT_EQ(got_values.values(), values);
}

// Queries and keys of one call. The transform is exact in the reference and f32 here: a value at
// the edge between two codes may fall to either, and a group's largest value at a power of two may
// double its scale. Weights are scaled in place.
template <template <class> class Memory>
void expect_index_rows(std::int64_t queries, std::int64_t keys, const auto& run) {
  const std::int64_t rows = queries + keys;
  const auto x = normal_bf16(rows * 128, 4, 2);
  std::vector<float> weights(rows);
  for (std::int64_t i = 0; i < rows; ++i) weights[i] = 0.01F * static_cast<float>(i - 300);
  std::vector<std::uint8_t> values(rows * 128, 0x2a);
  std::vector<float> scales(rows, -1), scaled(rows);
  Memory<std::uint16_t> run_x(x);
  Memory<std::uint8_t> run_values(values);
  Memory<float> run_scales(scales), run_weights(weights);
  ASSERT_TRUE(indexer_quantise_reference({.x = x.data(),
                                          .values = values.data(),
                                          .scales = scales.data(),
                                          .weights = weights.data(),
                                          .weights_out = scaled.data(),
                                          .rows = rows,
                                          .x_stride = 128,
                                          .weight_factor = 0.011F}));
  run(IndexerQuantiseParams{.x = run_x.data(),
                            .values = run_values.data(),
                            .scales = run_scales.data(),
                            .weights = run_weights.data(),
                            .weights_out = run_weights.data(),
                            .rows = queries,
                            .x_stride = 128,
                            .weight_factor = 0.011F},
      IndexerQuantiseParams{.x = run_x.data() + queries * 128,
                            .values = run_values.data() + queries * 128,
                            .scales = run_scales.data() + queries,
                            .rows = keys,
                            .x_stride = 128});
  const auto got_values = run_values.values();
  const auto got_scales = run_scales.values();
  const auto got_weights = run_weights.values();
  int other_scales = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    other_scales += got_scales[row] != scales[row] ? 1 : 0;
    if (row < queries) {
      EXPECT_FLOAT_EQ(got_weights[row] / got_scales[row], scaled[row] / scales[row]);
    }
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

template <template <class> class Memory>
void expect_cache_rows(KvRows::Format format, const auto& run) {
  const std::vector<std::int64_t> slots = {5,  -1,      200, 63,
                                           64, 1000000, 191};  // beyond the cache: skipped
  const auto tokens = static_cast<std::int64_t>(slots.size());
  constexpr std::int64_t kRows = 256;
  const auto latent = awkward_bf16(tokens * 512);
  const auto rope_part = normal_bf16(tokens * 64, 6);
  const int row_bytes = format == KvRows::Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
  const std::int64_t stride = row_bytes + 16;
  std::vector<std::uint8_t> cache(kRows * stride, 0x2a);
  Memory<std::uint16_t> run_latent(latent), run_rope(rope_part);
  Memory<std::int64_t> run_slots(slots);
  Memory<std::uint8_t> got(cache);
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
  params.latent = run_latent.data();
  params.rope = run_rope.data();
  params.slots = run_slots.data();
  params.cache = got.data();
  run(params);
  EXPECT_EQ(got.values(), cache);
}

// Into pages out of order and out of them again.
template <template <class> class Memory>
void expect_index_keys(const auto& write, const auto& gather) {
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
  Memory<std::uint8_t> run_values(values), got(pages);
  Memory<float> run_scales(scales);
  Memory<std::int64_t> run_slots(slots);
  Memory<std::int32_t> run_table(table);
  IndexKeyCacheWriteParams params{.values = values.data(),
                                  .scales = scales.data(),
                                  .slots = slots.data(),
                                  .pages = pages.data(),
                                  .tokens = kTokens,
                                  .page_count = kPages,
                                  .page_stride_bytes = kIndexPageBytes};
  ASSERT_TRUE(index_key_cache_write_reference(params));
  params.values = run_values.data();
  params.scales = run_scales.data();
  params.slots = run_slots.data();
  params.pages = got.data();
  write(params);
  EXPECT_EQ(got.values(), pages);

  Memory<std::uint8_t> gathered(std::vector<std::uint8_t>(values.size()));
  Memory<float> gathered_scales(std::vector<float>(scales.size()));
  gather(GatherIndexKeysParams{.pages = got.data(),
                               .block_table = run_table.data(),
                               .values = gathered.data(),
                               .scales = gathered_scales.data(),
                               .tokens = kTokens,
                               .page_count = kPages,
                               .page_stride_bytes = kIndexPageBytes});
  EXPECT_EQ(gathered.values(), values);
  EXPECT_EQ(gathered_scales.values(), scales);
}

// Every code under scales of every kind, in pages out of order, one of them twice; rows of pages
// that are not there stay as they are. f32 products of a code and a scale, rounded once: 4 and 24
// bits, so the product in double is exact.
template <template <class> class Memory>
void expect_rows_to_bf16(const auto& run) {
  constexpr std::int64_t kPages = 4, kStride = kKvRowBytesFp8 + 16;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> scales = {
      1, 0.1F, 3.14159F, -0x1.fffffep-9F, 0x1p-126F, 0x1p-140F, 3e38F, kInfinity, 0, 1.0F / 448};
  std::vector<std::uint8_t> cache(kPages * kPageTokens * kStride, 0x2a);
  const auto ropes = normal_bf16(kPages * kPageTokens * kRopeDim, 12, 2);
  for (std::int64_t row = 0; row < kPages * kPageTokens; ++row) {
    std::uint8_t* bytes = &cache[row * kStride];
    for (int d = 0; d < kLatentDim; ++d) bytes[d] = static_cast<std::uint8_t>(d + 7 * row);
    for (int g = 0; g < kKvFp8Scales; ++g)
      std::memcpy(bytes + kKvFp8ScaleOffset + 4 * g, &scales[(row + 3 * g) % scales.size()], 4);
    std::memcpy(bytes + kKvFp8RopeOffset, &ropes[row * kRopeDim], 2 * kRopeDim);
  }
  const std::vector<std::int32_t> pages = {3, -1, 0, 3, kPages, 2};
  const auto count = static_cast<std::int64_t>(pages.size());
  constexpr std::uint16_t kPoison = 0xbeef;
  std::vector<std::uint16_t> want(count * kPageTokens * kKeyDim + kKeyDim, kPoison);
  for (std::int64_t i = 0; i < count; ++i) {
    if (pages[i] < 0 || pages[i] >= kPages) continue;
    for (int r = 0; r < kPageTokens; ++r) {
      const std::int64_t row = std::int64_t{pages[i]} * kPageTokens + r;
      for (int d = 0; d < kKeyDim; ++d) {
        const double product = double{e4m3_to_float(cache[row * kStride + d % kLatentDim])} *
                               scales[(row + 3 * (d / kQuantGroup)) % scales.size()];
        want[(i * kPageTokens + r) * kKeyDim + d] = d < kLatentDim
                                                        ? bf16_from(static_cast<float>(product))
                                                        : ropes[row * kRopeDim + d - kLatentDim];
      }
    }
  }
  Memory<std::uint8_t> run_cache(cache);
  Memory<std::int32_t> run_pages(pages);
  Memory<std::uint16_t> got(std::vector<std::uint16_t>(want.size(), kPoison));
  run(RowsToBf16Params{.cache = {.data = run_cache.data(),
                                 .format = KvRows::Format::kFp8,
                                 .rows = kPages * kPageTokens,
                                 .row_stride_bytes = kStride},
                       .pages = run_pages.data(),
                       .out = got.data(),
                       .page_count = count});
  EXPECT_EQ(got.values(), want);
}

// In place.
template <template <class> class Memory>
void expect_selection_rows(const auto& run) {
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
  Memory<std::int32_t> got(positions), run_request(request), run_table(table);
  params.positions = got.data();
  params.rows = got.data();
  params.request = run_request.data();
  params.block_table = run_table.data();
  run(params);
  EXPECT_EQ(got.values(), want);
}

// Bits of norm_rope: parts(params) runs one after the other what whole(params) runs at once.
template <template <class> class Memory>
void expect_norm_rope_of_parts(int tokens, int q_lora, const auto& parts, const auto& whole) {
  SCOPED_TRACE(tokens);
  const std::int64_t n = tokens;
  const int groups = (q_lora + 127) / 128;
  Memory<std::uint16_t> q_a(awkward_bf16(n * q_lora)), kv(normal_bf16(n * 576, 8));
  Memory<float> weight(norm_weights(2048));
  std::vector<std::int32_t> rows(n);
  for (int t = 0; t < tokens; ++t) rows[t] = t;
  Memory<std::int32_t> positions(rows);
  Memory<float> table(rope_table(rope_frequencies({}, 64), rows));
  struct Outputs {
    Memory<std::uint16_t> q_r, latent, k_rope;
    Memory<std::uint8_t> codes;
    Memory<float> scales;
  };
  const auto run = [&](const auto& launch) {
    const auto bits = [](std::int64_t size) { return std::vector<std::uint16_t>(size, 7); };
    Outputs to{.q_r = Memory<std::uint16_t>(bits(n * q_lora)),
               .latent = Memory<std::uint16_t>(bits(n * 512)),
               .k_rope = Memory<std::uint16_t>(bits(n * 64)),
               .codes = Memory<std::uint8_t>(std::vector<std::uint8_t>(n * q_lora, 7)),
               .scales = Memory<float>(std::vector<float>(n * groups, -1))};
    const NormRopeParams params = {.query = {.x = q_a.data(),
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
                                           .table_rows = tokens,
                                           .heads = 1,
                                           .dim = 64,
                                           .token_stride = 64,
                                           .source = kv.data() + 512,
                                           .source_token_stride = 576}};
    EXPECT_TRUE(norm_rope_check(params));
    launch(params);
    return to;
  };
  auto want = run(parts);
  auto got = run(whole);
  EXPECT_EQ(got.q_r.values(), want.q_r.values());
  EXPECT_EQ(got.codes.values(), want.codes.values());
  EXPECT_EQ(got.scales.values(), want.scales.values());
  EXPECT_EQ(got.latent.values(), want.latent.values());
  EXPECT_EQ(got.k_rope.values(), want.k_rope.values());
}

// Index keys before their norm, in rows with gaps, and what norm and rope take beside them.
template <template <class> class Memory>
struct IndexKeyInputs {
  static constexpr std::int64_t kStride = 200;

  explicit IndexKeyInputs(int tokens)
      : count(tokens),
        raw(normal_bf16(tokens * kStride, 9)),
        weight(norm_weights(128)),
        positions(rows_from_zero(tokens)),
        table(rope_table(rope_frequencies({}, 64), rows_from_zero(tokens))) {}

  static std::vector<std::int32_t> rows_from_zero(int tokens) {
    std::vector<std::int32_t> rows(tokens);
    for (int t = 0; t < tokens; ++t) rows[t] = t;
    return rows;
  }
  LayerNormParams norm(std::uint16_t* out) {
    return {.x = raw.data(),
            .weight = weight.data(),
            .bias = weight.data(),
            .out = out,
            .rows = count,
            .dim = 128,
            .x_stride = kStride,
            .out_stride = 128,
            .eps = 1e-6F};
  }
  RopeParams rope(std::uint16_t* x, int heads, RopePairs pairs) {
    return {.x = x,
            .cos_sin = table.data(),
            .positions = positions.data(),
            .tokens = count,
            .table_rows = count,
            .heads = heads,
            .dim = 64,
            .token_stride = heads * 128,
            .head_stride = 128,
            .pairs = pairs};
  }

  std::int64_t count;
  Memory<std::uint16_t> raw;
  Memory<float> weight;
  Memory<std::int32_t> positions;
  Memory<float> table;
};

// The same of indexer_norm_rope.
template <template <class> class Memory>
void expect_indexer_norm_rope_of_parts(int tokens, RopePairs pairs, const auto& parts,
                                       const auto& whole) {
  SCOPED_TRACE(tokens);
  constexpr int kHeads = 8;
  const std::int64_t n = tokens;
  IndexKeyInputs<Memory> keys(tokens);
  struct Outputs {
    Memory<std::uint16_t> query, key;
  };
  const auto run = [&](const auto& launch) {
    Outputs to{.query = Memory<std::uint16_t>(normal_bf16(n * kHeads * 128, 10)),
               .key = Memory<std::uint16_t>(std::vector<std::uint16_t>(n * 128, 7))};
    const IndexerNormRopeParams params = {.query = keys.rope(to.query.data(), kHeads, pairs),
                                          .key_norm = keys.norm(to.key.data()),
                                          .key = keys.rope(to.key.data(), 1, pairs)};
    EXPECT_TRUE(indexer_norm_rope_check(params));
    launch(params);
    return to;
  };
  auto want = run(parts);
  auto got = run(whole);
  EXPECT_EQ(got.query.values(), want.query.values());
  EXPECT_EQ(got.key.values(), want.key.values());
}

// The same of index_key_write, its pages included; one slot is none of the cache's.
template <template <class> class Memory>
void expect_index_key_write_of_parts(int tokens, RopePairs pairs, const auto& parts,
                                     const auto& whole) {
  SCOPED_TRACE(tokens);
  const std::int64_t n = tokens;
  const std::int64_t pages = n / kPageTokens + 2;
  IndexKeyInputs<Memory> keys(tokens);
  std::vector<std::int64_t> slots_of(n);
  for (std::int64_t t = 0; t < n; ++t) slots_of[t] = pages * kPageTokens - 1 - t;
  slots_of[n / 2] = -1;
  Memory<std::int64_t> slots(slots_of);
  struct Outputs {
    Memory<std::uint16_t> key;
    Memory<std::uint8_t> codes, cache;
    Memory<float> scales;
  };
  const auto run = [&](const auto& launch) {
    const auto bytes = [](std::int64_t size) { return std::vector<std::uint8_t>(size, 7); };
    Outputs to{.key = Memory<std::uint16_t>(std::vector<std::uint16_t>(n * 128, 7)),
               .codes = Memory<std::uint8_t>(bytes(n * 128)),
               .cache = Memory<std::uint8_t>(bytes(pages * kIndexPageBytes)),
               .scales = Memory<float>(std::vector<float>(n, -1))};
    const IndexKeyWriteParams params = {.norm = keys.norm(to.key.data()),
                                        .rope = keys.rope(to.key.data(), 1, pairs),
                                        .quantised = {.x = to.key.data(),
                                                      .values = to.codes.data(),
                                                      .scales = to.scales.data(),
                                                      .rows = n,
                                                      .x_stride = 128},
                                        .write = {.values = to.codes.data(),
                                                  .scales = to.scales.data(),
                                                  .slots = slots.data(),
                                                  .pages = to.cache.data(),
                                                  .tokens = n,
                                                  .page_count = pages,
                                                  .page_stride_bytes = kIndexPageBytes}};
    EXPECT_TRUE(index_key_write_check(params));
    launch(params);
    return to;
  };
  auto want = run(parts);
  auto got = run(whole);
  EXPECT_EQ(got.key.values(), want.key.values());
  EXPECT_EQ(got.codes.values(), want.codes.values());
  EXPECT_EQ(got.scales.values(), want.scales.values());
  EXPECT_EQ(got.cache.values(), want.cache.values());
}

}  // namespace dsaperf::kernels::testing
