#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/testing/sparse_mla_case.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace dsaperf::kernels {
namespace {

using namespace sparse_mla_case;

// A test of each variant, so that one that never ends costs no other its result. Not all of them
// can take every case.
struct SparseMlaEachVariantGpuTest : testing::TestWithParam<std::tuple<Format, int, Variant>> {
  Case given() const {
    Case c;
    c.format = std::get<0>(GetParam());
    c.heads = std::get<1>(GetParam());
    return c;
  }
  bool takes(const Case& c) const {
    const auto of_case = variants_of({.kernel = TunedKernel::kSparseDecode,
                                      .fp8 = c.format == Format::kFp8,
                                      .heads = c.heads,
                                      .rows = c.tokens,
                                      .columns = c.topk},
                                     gpu::current_sm_count().value());
    return std::ranges::find(of_case, std::get<2>(GetParam())) != of_case.end();
  }
  Output run_variant(const Case& c) const {
    return run(c, Kernel::kVariant, 1, std::get<2>(GetParam()));
  }
};
std::vector<std::tuple<Format, int, Variant>> each_variant() {
  std::vector<std::tuple<Format, int, Variant>> all;
  for (const Format format : {Format::kBf16, Format::kFp8})
    for (const int heads : {8, 16, 32, 64, 128})
      for (const Variant variant : variants_of({.kernel = TunedKernel::kSparseDecode,
                                                .fp8 = format == Format::kFp8,
                                                .heads = heads,
                                                .rows = 1,
                                                .columns = 2048},
                                               132))
        if (variant != Variant::kDefault) all.emplace_back(format, heads, variant);
  return all;
}
std::string name_of(const testing::TestParamInfo<std::tuple<Format, int, Variant>>& test) {
  const auto& [format, heads, variant] = test.param;
  return (format == Format::kBf16 ? "Bf16Heads" : "Fp8Heads") + std::to_string(heads) + "_" +
         std::string(name(variant));
}
INSTANTIATE_TEST_SUITE_P(, SparseMlaEachVariantGpuTest, testing::ValuesIn(each_variant()), name_of);

TEST_P(SparseMlaEachVariantGpuTest, MatchesDouble) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [tokens, topk] : {std::pair{1, 2048}, {3, 130}, {5, 1000}, {17, 200}}) {
    SCOPED_TRACE(tokens);
    Case c = given();
    c.tokens = tokens;
    c.topk = topk;
    c.wide = tokens == 3;
    c.make();
    if (!takes(c)) continue;
    const Output got = run_variant(c);
    expect_matches_double(c, got);
    expect_same(got, run_variant(c));
  }
}

TEST_P(SparseMlaEachVariantGpuTest, TakesRaggedLengthsAndEmptyLists) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.topk = 320;
  c.topk_length = {0, 1, 63, 64, 65, 320, 999, 0, -7, 200, 128};
  c.tokens = static_cast<std::int64_t>(c.topk_length.size());
  c.make();
  std::fill_n(c.indices.begin() + 6 * c.list, c.list, -1);
  ASSERT_TRUE(takes(c));
  expect_matches_double(c, run_variant(c));
}

TEST_P(SparseMlaEachVariantGpuTest, RescalesAndKeepsNanToItsToken) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.topk = 640;
  c.skipped = 0;
  c.scale = 1.5F;
  c.make();
  ASSERT_TRUE(takes(c));
  expect_matches_double(c, run_variant(c));
  for (auto& index : c.indices) index = index == 5 ? 6 : index;
  c.indices[c.list + 70] = 5;  // token 1
  const std::uint16_t nan = 0x7fc0;
  if (c.format == Format::kBf16) {
    std::memcpy(&c.kv[5 * c.kv_stride + 2 * 40], &nan, 2);
  } else {
    c.kv[5 * c.kv_stride + 40] = 0xff;
  }
  const Output got = run_variant(c);
  for (std::int64_t t = 0; t < c.tokens; ++t)
    for (int h = 0; h < c.heads; ++h) {
      const float value = bf16_to_float(got.out[kCanary + t * c.out_token + h * c.out_head + 300]);
      ASSERT_EQ(std::isnan(value), t == 1) << "token " << t << " head " << h;
    }
}

void expect_walks_over(std::int64_t tokens, int heads, int topk, Variant variant) {
  SCOPED_TRACE(heads);
  Case c;
  c.heads = heads;
  c.tokens = tokens;
  c.topk = topk;
  for (std::int64_t t = 0; t < c.tokens; ++t)
    c.topk_length.push_back(static_cast<int>(7 * t % (c.topk + 1)));
  c.make();
  const Output got = run(c, Kernel::kVariant, 1, variant);
  expect_matches_double(c, got);
  expect_same(got, run(c, Kernel::kVariant, 1, variant));
}

TEST(SparseMlaVariantGpuTest, FewHeadsWalkOverMoreTokensThanCtas) {
  DSAPERF_REQUIRE_GPU();
  // Two CTAs an SM, three rounds.
  const int tokens = 4 * gpu::current_sm_count().value() + 3;
  for (const int heads : {8, 16, 32}) expect_walks_over(tokens, heads, 96, Variant::kFewHeads);
}

TEST(SparseMlaVariantGpuTest, RefusesWhatItHasNoWorkspaceOrSmsFor) {
  DSAPERF_REQUIRE_GPU();
  Case c;
  c.tokens = 1;
  c.topk = 64;  // one block: no parts
  c.make();
  const auto memory = DeviceArray<std::uint8_t>::filled_with_byte(1 << 20, 0).value();
  SparseMlaParams params{.q = memory.data(),
                         .kv = {.data = memory.data(), .rows = 1, .row_stride_bytes = 1152},
                         .indices = reinterpret_cast<std::int32_t*>(memory.data()),
                         .out = memory.data(),
                         .tokens = 1,
                         .heads = 64,
                         .topk = 64,
                         .q_token_stride = 64 * kKeyDim,
                         .q_head_stride = kKeyDim,
                         .indices_stride = 64,
                         .out_token_stride = 64 * kLatentDim,
                         .out_head_stride = kLatentDim,
                         .scale = 1};
  EXPECT_EQ(
      sparse_mla_variant(params, Variant::kSplit, memory.data(), 1 << 20, nullptr).error().code(),
      Errc::kUnsupported);
  params.topk = 2048;
  params.indices_stride = 2048;
  EXPECT_EQ(sparse_mla_variant(params, Variant::kSplit, memory.data(), 16, nullptr).error().code(),
            Errc::kInvalidArgument);
  EXPECT_EQ(sparse_mla_variant(params, Variant::kTwoProducers, nullptr, 0, nullptr).error().code(),
            Errc::kUnsupported);  // bf16 rows are not converted
  EXPECT_EQ(sparse_mla_variant(params, Variant::kFewHeads, nullptr, 0, nullptr).error().code(),
            Errc::kUnsupported);  // 64 heads are not few
}

}  // namespace
}  // namespace dsaperf::kernels
