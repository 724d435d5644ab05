#include "dsaperf/kernels/sparse_mla.hpp"

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace dsaperf::kernels {
namespace {

constexpr std::uint16_t kPoison = 0xabcd;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A batch with packed strides and everything owned; tests bend what they are about.
struct Batch {
  Batch(std::int64_t tokens, int heads, int topk, std::int64_t rows, unsigned seed = 1)
      : q(tokens * heads * kKeyDim),
        cache(rows * kKeyDim),
        indices(tokens * topk, -1),
        out(tokens * heads * kLatentDim, kPoison),
        lse(tokens * heads, 123) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal;
    for (auto& value : q) value = bf16_from(normal(engine));
    for (auto& value : cache) value = bf16_from(normal(engine));
    params = {.q = q.data(),
              .kv = {.data = cache.data(), .rows = rows, .row_stride_bytes = kKvRowBytesBf16},
              .indices = indices.data(),
              .out = out.data(),
              .lse = lse.data(),
              .tokens = tokens,
              .heads = heads,
              .topk = topk,
              .q_token_stride = heads * kKeyDim,
              .q_head_stride = kKeyDim,
              .indices_stride = topk,
              .out_token_stride = heads * kLatentDim,
              .out_head_stride = kLatentDim,
              .lse_stride = heads,
              .scale = 0.04F};
  }

  double score(int head, int row) const {
    double dot = 0;
    for (int d = 0; d < kKeyDim; ++d)
      dot += double{bf16_to_float(q[head * kKeyDim + d])} * bf16_to_float(cache[row * kKeyDim + d]);
    return double{params.scale} * dot;
  }

  std::vector<std::uint16_t> q, cache;
  std::vector<std::int32_t> indices;
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
  SparseMlaParams params;
};

TEST(SparseMlaReferenceTest, OneRowIsCopiedAndItsScoreIsTheLse) {
  Batch b(1, 8, 64, 5);
  b.indices[17] = 3;
  ASSERT_TRUE(sparse_mla_reference(b.params));
  for (int h = 0; h < 8; ++h) {
    EXPECT_EQ(b.lse[h], static_cast<float>(b.score(h, 3)));
    for (int d = 0; d < kLatentDim; ++d)
      ASSERT_EQ(b.out[h * kLatentDim + d], b.cache[3 * kKeyDim + d]);
  }
}

TEST(SparseMlaReferenceTest, DuplicatesCountAsOftenAsTheyStand) {
  Batch b(1, 8, 3, 2);
  b.indices = {0, 1, 0};
  b.params.indices = b.indices.data();
  ASSERT_TRUE(sparse_mla_reference(b.params));
  const double w0 = 2 * std::exp(b.score(5, 0));
  const double w1 = std::exp(b.score(5, 1));
  EXPECT_NEAR(b.lse[5], std::log(w0 + w1), 1e-6);  // one f32 rounding of a value near 2
  for (int d = 0; d < kLatentDim; ++d) {
    const double expected =
        (w0 * bf16_to_float(b.cache[d]) + w1 * bf16_to_float(b.cache[kKeyDim + d])) / (w0 + w1);
    ASSERT_NEAR(bf16_to_float(b.out[5 * kLatentDim + d]), expected,
                std::abs(expected) * 0x1p-8);  // half a unit of 8 significant bits
  }
}

TEST(SparseMlaReferenceTest, NothingSelectedGivesZerosAndMinusInfinity) {
  Batch b(3, 16, 64, 7);
  b.indices[2 * 64] = 7;  // outside the cache: counts as -1
  b.indices[2 * 64 + 1] = -5;
  ASSERT_TRUE(sparse_mla_reference(b.params));
  for (const auto value : b.out) ASSERT_EQ(value, 0);
  for (const auto value : b.lse) ASSERT_EQ(value, -kInfinity);
}

TEST(SparseMlaReferenceTest, AnEmptyCacheAndAnEmptyBatchAreFine) {
  Batch b(2, 8, 64, 0);
  EXPECT_TRUE(sparse_mla_reference(b.params));
  EXPECT_EQ(b.lse[15], -kInfinity);
  SparseMlaParams empty;
  empty.heads = 64;
  empty.topk = 2048;
  EXPECT_TRUE(sparse_mla_reference(empty));
}

TEST(SparseMlaReferenceTest, OnlyTheLeadingTopkLengthEntriesCount) {
  Batch whole(4, 8, 6, 6);
  Batch cut(4, 8, 6, 6);
  const std::vector<std::int32_t> lengths = {0, 2, 6, 99};
  for (int t = 0; t < 4; ++t) {
    for (int i = 0; i < 6; ++i) {
      cut.indices[t * 6 + i] = 5 - i;
      whole.indices[t * 6 + i] = i < lengths[t] ? 5 - i : -1;
    }
  }
  cut.params.topk_length = lengths.data();
  ASSERT_TRUE(sparse_mla_reference(whole.params));
  ASSERT_TRUE(sparse_mla_reference(cut.params));
  EXPECT_EQ(cut.out, whole.out);
  EXPECT_EQ(cut.lse, whole.lse);
}

TEST(SparseMlaReferenceTest, StridesWiderThanRowsLeaveTheGapsAlone) {
  Batch packed(3, 8, 4, 9);
  for (std::size_t i = 0; i < packed.indices.size(); ++i)
    packed.indices[i] = static_cast<std::int32_t>(i % 9);
  ASSERT_TRUE(sparse_mla_reference(packed.params));

  Batch wide = packed;
  const int head_stride = kLatentDim + 16;
  const int token_stride = 8 * head_stride + 32;
  std::vector<std::uint16_t> out(3 * token_stride, kPoison);
  std::vector<float> lse(3 * 11, 123);
  std::vector<std::int32_t> indices(3 * 7, 0);
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 4; ++i) indices[t * 7 + i] = packed.indices[t * 4 + i];
  std::vector<std::uint16_t> cache(9 * (kKeyDim + 8), kPoison);
  for (int r = 0; r < 9; ++r)
    std::memcpy(&cache[r * (kKeyDim + 8)], &packed.cache[r * kKeyDim], kKvRowBytesBf16);
  wide.params.q = packed.q.data();
  wide.params.kv.data = cache.data();
  wide.params.kv.row_stride_bytes = kKvRowBytesBf16 + 16;
  wide.params.indices = indices.data();
  wide.params.indices_stride = 7;
  wide.params.out = out.data();
  wide.params.out_head_stride = head_stride;
  wide.params.out_token_stride = token_stride;
  wide.params.lse = lse.data();
  wide.params.lse_stride = 11;
  ASSERT_TRUE(sparse_mla_reference(wide.params));
  for (int t = 0; t < 3; ++t) {
    for (int h = 0; h < 11; ++h) EXPECT_EQ(lse[t * 11 + h], h < 8 ? packed.lse[t * 8 + h] : 123);
    for (int i = 0; i < token_stride; ++i) {
      const int h = i / head_stride;
      const int d = i % head_stride;
      ASSERT_EQ(out[t * token_stride + i],
                h < 8 && d < kLatentDim ? packed.out[(t * 8 + h) * kLatentDim + d] : kPoison);
    }
  }
}

TEST(SparseMlaReferenceTest, Fp8RowsAreValuesTimesScaleAndExactRope) {
  Batch b(1, 8, 1, 1);
  std::vector<std::uint8_t> row(kKvRowBytesFp8);
  for (int d = 0; d < kLatentDim; ++d) row[d] = static_cast<std::uint8_t>(d % 0x7f);
  const float scales[4] = {1, 0.5F, 4, 0.3F};  // the last is no power of two: accepted
  std::memcpy(&row[kKvFp8ScaleOffset], scales, sizeof scales);
  for (int d = 0; d < kRopeDim; ++d) {
    const std::uint16_t rope = bf16_from(d == 63 ? 2.0 : 0.0);
    std::memcpy(&row[kKvFp8RopeOffset + 2 * d], &rope, 2);
  }
  b.indices = {0};
  b.params.kv = {.data = row.data(),
                 .format = KvRows::Format::kFp8,
                 .rows = 1,
                 .row_stride_bytes = kKvRowBytesFp8};
  std::fill(b.q.begin(), b.q.end(), std::uint16_t{0});
  b.q[kKeyDim - 1] = bf16_from(3);
  ASSERT_TRUE(sparse_mla_reference(b.params));
  EXPECT_EQ(b.lse[0], 0.04F * 6);
  for (int d = 0; d < kLatentDim; ++d)
    ASSERT_EQ(b.out[d], bf16_from(double{e4m3_to_float(row[d])} * scales[d / 128])) << d;
}

TEST(SparseMlaReferenceTest, NanStaysInItsTokenAndHead) {
  Batch b(2, 8, 2, 3);
  b.indices = {0, 1, 1, 2};
  b.q[3 * kKeyDim + 5] = bf16_from(std::nan(""));  // token 0, head 3
  ASSERT_TRUE(sparse_mla_reference(b.params));
  for (int th = 0; th < 16; ++th) {
    EXPECT_EQ(std::isnan(b.lse[th]), th == 3) << th;
    for (int d = 0; d < kLatentDim; ++d)
      ASSERT_EQ(std::isnan(bf16_to_float(b.out[th * kLatentDim + d])), th == 3);
  }
}

TEST(SparseMlaReferenceTest, ANanCacheRowReachesOnlyTokensThatSelectIt) {
  Batch b(2, 8, 1, 2);
  b.indices = {0, 1};
  b.cache[kKeyDim + 9] = bf16_from(std::nan(""));
  ASSERT_TRUE(sparse_mla_reference(b.params));
  EXPECT_FALSE(std::isnan(b.lse[0]));
  EXPECT_TRUE(std::isnan(b.lse[8]));
}

TEST(SparseMlaCheckTest, RefusesWhatContradictsItself) {
  const auto refused = [](auto bend) {
    Batch b(2, 8, 4, 5);
    bend(b.params);
    const auto result = sparse_mla_reference(b.params);
    return !result && result.error().code() == Errc::kInvalidArgument && b.out[0] == kPoison;
  };
  EXPECT_FALSE(refused([](SparseMlaParams&) {}));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.heads = 24; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.topk = 0; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.tokens = -1; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.q = nullptr; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.kv.data = nullptr; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.kv.row_stride_bytes = 1151; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.indices_stride = 3; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.out_head_stride = 511; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.lse_stride = 7; }));
  EXPECT_TRUE(refused([](SparseMlaParams& p) { p.scale = kInfinity; }));
  EXPECT_FALSE(refused([](SparseMlaParams& p) { p.lse = nullptr; }));
}

}  // namespace
}  // namespace dsaperf::kernels
