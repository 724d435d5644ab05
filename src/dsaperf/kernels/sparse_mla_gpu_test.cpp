#include "dsaperf/kernels/sparse_mla.hpp"

#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/testing/sparse_mla_case.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

namespace dsaperf::kernels {
namespace {

using namespace sparse_mla_case;

struct SparseMlaGpuTest : testing::TestWithParam<std::tuple<Format, int>> {
  Case given() const {
    Case c;
    c.format = std::get<0>(GetParam());
    c.heads = std::get<1>(GetParam());
    return c;
  }
};
INSTANTIATE_TEST_SUITE_P(, SparseMlaGpuTest,
                         testing::Combine(testing::Values(Format::kBf16, Format::kFp8),
                                          testing::Values(8, 16, 32, 64, 128)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == Format::kBf16 ? "Bf16"
                                                                                       : "Fp8") +
                                  "Heads" + std::to_string(std::get<1>(test.param));
                         });

TEST_P(SparseMlaGpuTest, PlainKernelMatchesDouble) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.wide = true;
  c.make();
  expect_matches_double(c, run(c, Kernel::kPlain));
}

TEST_P(SparseMlaGpuTest, PrefillMatchesDoubleWithStridesWiderThanRows) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.wide = true;
  c.make();
  expect_matches_double(c, run(c, Kernel::kPrefill));
}

TEST_P(SparseMlaGpuTest, PersistentCtasTakeSeveralTokens) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.tokens = 17;
  c.topk = 130;  // two full blocks and a ragged one
  c.make();
  expect_matches_double(c, run(c, Kernel::kCluster, 1));
}

TEST_P(SparseMlaGpuTest, EveryClusterSizeMatchesDouble) {
  DSAPERF_REQUIRE_GPU();
  for (const int cluster : {2, 3, 7, 8, 14, 16}) {
    Case c = given();
    c.topk = 1000;
    c.tokens = 2;
    c.seed = cluster;
    c.make();
    SCOPED_TRACE(cluster);
    expect_matches_double(c, run(c, Kernel::kCluster, cluster));
  }
}

TEST_P(SparseMlaGpuTest, RaggedLengthsAndEmptyLists) {
  DSAPERF_REQUIRE_GPU();
  for (const int cluster : {1, 4}) {
    Case c = given();
    c.topk = 320;
    c.topk_length = {0, 1, 63, 64, 65, 320, 999, 0, -7, 200, 128};
    c.tokens = static_cast<std::int64_t>(c.topk_length.size());
    c.make();
    std::fill_n(c.indices.begin() + 6 * c.list, c.list, -1);  // all skipped
    std::fill_n(c.indices.begin() + 9 * c.list, 128, -1);     // its first two blocks skipped
    std::fill_n(c.indices.begin() + 10 * c.list, 128, 3);     // one row, 128 times
    for (int i = 0; i < 64; ++i)
      c.indices[5 * c.list + i] = i % 2 == 0 ? static_cast<int>(c.rows) : -2 - i;  // outside
    SCOPED_TRACE(cluster);
    expect_matches_double(c, run(c, Kernel::kCluster, cluster));
  }
}

TEST_P(SparseMlaGpuTest, RisingScoresRescaleTheAccumulators) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.topk = 640;
  c.skipped = 0;
  c.scale = 1.5F;  // scores of tens: the maximum rises by more than 2^8 several times
  c.tokens = 2;
  c.make();
  expect_matches_double(c, run(c, Kernel::kPrefill));
  c.scale = -0.05F;
  expect_matches_double(c, run(c, Kernel::kPrefill));
  c.scale = 0;
  expect_matches_double(c, run(c, Kernel::kPrefill));
}

TEST_P(SparseMlaGpuTest, TwoRunsAgreeBitForBit) {
  DSAPERF_REQUIRE_GPU();
  for (const int cluster : {1, 8}) {
    Case c = given();
    c.tokens = 9;
    c.topk = 2048;
    c.rows = 3000;
    c.make();
    expect_same(run(c, Kernel::kCluster, cluster), run(c, Kernel::kCluster, cluster));
  }
}

TEST_P(SparseMlaGpuTest, ATokenAloneAndInABatchAgreeBitForBitAtOneClusterSize) {
  DSAPERF_REQUIRE_GPU();
  Case batch = given();
  batch.tokens = 5;
  batch.topk = 512;
  batch.make();
  const Output all = run(batch, Kernel::kCluster, 4);
  Case alone = batch;
  alone.tokens = 1;
  alone.q.assign(batch.q.begin() + 3 * batch.q_token, batch.q.begin() + 4 * batch.q_token);
  alone.indices.assign(batch.indices.begin() + 3 * batch.list,
                       batch.indices.begin() + 4 * batch.list);
  const Output one = run(alone, Kernel::kCluster, 4);
  EXPECT_TRUE(std::equal(one.out.begin() + kCanary, one.out.end() - kCanary,
                         all.out.begin() + kCanary + 3 * batch.out_token));
}

TEST_P(SparseMlaGpuTest, DecodeOfManyTokensMatchesThePlainKernel) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.tokens = 150;  // more than SMs
  c.topk = 2048;
  c.rows = 5000;
  c.skipped = 0.05;
  c.make();
  const Output fast = run(c, Kernel::kDecode);
  const Output plain = run(c, Kernel::kPlain);
  expect_gaps_untouched(c, fast);
  // The bound of expect_matches_double, u (A + |out|), and the plain kernel's own rounding,
  // u |out|: values have a standard deviation of at most 1.6, so A <= 2 and |out| <= 1.
  double worst = 0;
  for (std::size_t i = 0; i < fast.out.size(); ++i) {
    if (fast.out[i] == kPoison) continue;
    const double difference =
        std::abs(double{bf16_to_float(fast.out[i])} - bf16_to_float(plain.out[i]));
    worst = std::isnan(difference) ? kInfinity : std::max(worst, difference);
  }
  EXPECT_LE(worst, 4 * std::ldexp(1.0, -8));
}

TEST_P(SparseMlaGpuTest, ARemainderInASecondLaunchMatchesThePlainKernel) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.tokens = 270;  // two rounds of 132 and a remainder
  c.topk = 1024;
  c.rows = 3000;
  c.topk_length.resize(c.tokens);
  for (std::int64_t t = 0; t < c.tokens; ++t) c.topk_length[t] = static_cast<int>(4 * t);
  c.make();
  const Output fast = run(c, Kernel::kPrefill);
  const Output plain = run(c, Kernel::kPlain);
  expect_gaps_untouched(c, fast);
  double worst = 0;  // the bound of DecodeOfManyTokens, with short lists: |out| up to |v| <= 8
  for (std::size_t i = 0; i < fast.out.size(); ++i) {
    if (fast.out[i] == kPoison) continue;
    const double difference =
        std::abs(double{bf16_to_float(fast.out[i])} - bf16_to_float(plain.out[i]));
    worst = std::isnan(difference) ? kInfinity : std::max(worst, difference);
  }
  EXPECT_LE(worst, 3 * 8 * std::ldexp(1.0, -8));
}

TEST(SparseMlaFp8GpuTest, ScalesThatAreNoPowersOfTwo) {
  DSAPERF_REQUIRE_GPU();
  Case c;
  c.format = Format::kFp8;
  c.powers_of_two = false;
  c.make();
  expect_matches_double(c, run(c, Kernel::kDecode));
}

TEST(SparseMlaFp8GpuTest, EveryByteAndExtremeScalesAreRead) {
  DSAPERF_REQUIRE_GPU();
  for (const int exponent : {-20, 0, 12}) {
    Case c;
    c.format = Format::kFp8;
    c.topk = 1;
    c.rows = 2;
    c.tokens = 1;
    c.heads = 8;
    c.skipped = 0;
    c.make();
    for (int r = 0; r < 2; ++r) {
      for (int d = 0; d < kLatentDim; ++d) {
        const int byte = d % 256;
        c.kv[r * c.kv_stride + d] = static_cast<std::uint8_t>((byte & 0x7f) == 0x7f ? 0 : byte);
      }
      for (int g = 0; g < kKvFp8Scales; ++g) {
        const float s = std::ldexp(1.0F, exponent + g);
        std::memcpy(&c.kv[r * c.kv_stride + kKvFp8ScaleOffset + 4 * g], &s, 4);
      }
    }
    c.indices = {1};
    const Output got = run(c, Kernel::kDecode);
    for (int d = 0; d < kLatentDim; ++d)
      ASSERT_EQ(bf16_to_float(got.out[kCanary + d]), c.key(1, d)) << d << " 2^" << exponent;
  }
}

TEST_P(SparseMlaGpuTest, NanReachesOnlyTheTokensThatSelectIt) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.tokens = 3;
  c.make();
  for (auto& index : c.indices) index = index == 5 ? 6 : index;
  c.indices[c.list + 70] = 5;  // token 1
  if (c.format == Format::kBf16) {
    const std::uint16_t nan = 0x7fc0;
    std::memcpy(&c.kv[5 * c.kv_stride + 2 * 40], &nan, 2);
  } else {
    c.kv[5 * c.kv_stride + 40] = 0xff;
  }
  const Output got = run(c, Kernel::kPrefill);
  for (std::int64_t t = 0; t < c.tokens; ++t)
    for (int h = 0; h < c.heads; ++h) {
      EXPECT_EQ(std::isnan(got.lse[t * (c.heads + 5) + h]), t == 1);
      for (int d = 0; d < kLatentDim; ++d)
        ASSERT_EQ(
            std::isnan(bf16_to_float(got.out[kCanary + t * c.out_token + h * c.out_head + d])),
            t == 1);
    }
}

TEST(SparseMlaLargeGpuTest, CachesOver2To31BytesAreAddressed) {
  DSAPERF_REQUIRE_GPU();
  // 4.6 GB of bf16 rows, zero but for the last two.
  const std::int64_t rows = 4'000'000;
  Case c;
  c.rows = 2;
  c.heads = 16;
  c.tokens = 1;
  c.topk = 64;
  c.skipped = 0;
  c.make();
  auto cache = DeviceArray<std::uint8_t>::filled_with_byte(rows * kKvRowBytesBf16, 0).value();
  ASSERT_EQ(cudaMemcpy(cache.data() + (rows - 2) * kKvRowBytesBf16, c.kv.data(), c.kv.size(),
                       cudaMemcpyHostToDevice),
            cudaSuccess);
  Case far = c;
  for (auto& index : far.indices) index += static_cast<int>(rows - 2);
  const auto q = DeviceArray<std::uint16_t>::copy_of(c.q).value();
  const auto indices = DeviceArray<std::int32_t>::copy_of(far.indices).value();
  const auto out = DeviceArray<std::uint16_t>::filled_with_byte(16 * kLatentDim, 0xff).value();
  const SparseMlaParams params{
      .q = q.data(),
      .kv = {.data = cache.data(), .rows = rows, .row_stride_bytes = kKvRowBytesBf16},
      .indices = indices.data(),
      .out = out.data(),
      .tokens = 1,
      .heads = 16,
      .topk = 64,
      .q_token_stride = 16 * kKeyDim,
      .q_head_stride = kKeyDim,
      .indices_stride = 64,
      .out_token_stride = 16 * kLatentDim,
      .out_head_stride = kLatentDim,
      .lse_stride = 16,
      .scale = 0.05F};
  ASSERT_TRUE(sparse_mla_prefill(params, nullptr));
  const Output near = run(c, Kernel::kPrefill);
  const auto far_out = out.to_host().value();
  EXPECT_TRUE(std::equal(far_out.begin(), far_out.end(), near.out.begin() + kCanary));
}

TEST(SparseMlaCheckGpuTest, MisalignedPointersAndStridesAreRefused) {
  DSAPERF_REQUIRE_GPU();
  Case c;
  c.make();
  SparseMlaParams params{.q = reinterpret_cast<void*>(0x1008),
                         .kv = {.data = reinterpret_cast<void*>(0x1000),
                                .rows = 1,
                                .row_stride_bytes = kKvRowBytesBf16},
                         .indices = reinterpret_cast<std::int32_t*>(0x1000),
                         .out = reinterpret_cast<void*>(0x1000),
                         .tokens = 1,
                         .heads = 8,
                         .topk = 64,
                         .q_token_stride = 8 * kKeyDim,
                         .q_head_stride = kKeyDim,
                         .indices_stride = 64,
                         .out_token_stride = 8 * kLatentDim,
                         .out_head_stride = kLatentDim,
                         .scale = 1};
  EXPECT_EQ(sparse_mla_prefill(params, nullptr).error().code(), Errc::kInvalidArgument);
  params.q = params.out;
  params.kv.row_stride_bytes = kKvRowBytesBf16 + 8;
  EXPECT_EQ(sparse_mla_decode(params, nullptr, 0, nullptr).error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace dsaperf::kernels
