#include "dsaperf/kernels/sparse_mla.hpp"

#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sparse_mla_plain.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace dsaperf::kernels {
namespace {

using Format = KvRows::Format;
using gpu::DeviceArray;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::uint16_t kPoison = 0x7fc1;  // a bf16 NaN that no kernel writes
constexpr int kCanary = 64;                // elements before and after an output

// Inputs on the host, with strides wider than rows, and what a test wants to bend.
struct Case {
  std::int64_t tokens = 3;
  int heads = 64;
  int topk = 192;
  std::int64_t rows = 500;
  Format format = Format::kBf16;
  bool wide = false;             // strides wider than rows
  bool powers_of_two = true;     // fp8 scales
  double skipped = 0.2;          // share of -1 in the lists
  std::vector<int> topk_length;  // empty: none
  float scale = 0.05F;
  unsigned seed = 1;

  std::vector<std::uint16_t> q;
  std::vector<std::uint8_t> kv;
  std::vector<std::int32_t> indices;
  std::int64_t q_head = 0, q_token = 0, kv_stride = 0, list = 0, out_head = 0, out_token = 0;

  int row_bytes() const { return format == Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8; }

  void make() {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal;
    const int pad = wide ? 1 : 0;
    q_head = kKeyDim + 8 * pad;
    q_token = heads * q_head + 24 * pad;
    kv_stride = row_bytes() + 48 * pad;
    list = topk + 3 * pad;
    out_head = kLatentDim + 8 * pad;
    out_token = heads * out_head + 40 * pad;
    q.resize(tokens * q_token);
    for (auto& value : q) value = bf16_from(normal(engine));
    kv.assign(rows * kv_stride, 0x55);
    for (std::int64_t r = 0; r < rows; ++r) {
      std::uint8_t* row = &kv[r * kv_stride];
      const auto put = [&](std::int64_t offset, double value) {
        const std::uint16_t bits = bf16_from(value);
        std::memcpy(row + offset, &bits, 2);
      };
      if (format == Format::kBf16) {
        for (int d = 0; d < kKeyDim; ++d) put(2 * d, normal(engine));
        continue;
      }
      for (int d = 0; d < kLatentDim; ++d) row[d] = e4m3_from(100 * normal(engine));
      for (int g = 0; g < kKvFp8Scales; ++g) {
        const float s = powers_of_two ? std::ldexp(1.0F, -8 + static_cast<int>(engine() % 3))
                                      : 0.004F + 0.01F * static_cast<float>(engine() % 1000) / 1000;
        std::memcpy(row + kKvFp8ScaleOffset + 4 * g, &s, 4);
      }
      for (int d = 0; d < kRopeDim; ++d) put(kKvFp8RopeOffset + 2 * d, normal(engine));
    }
    indices.assign(tokens * list, 0);
    std::uniform_real_distribution<double> uniform;
    for (auto& index : indices)
      index = rows == 0 || uniform(engine) < skipped ? -1 : static_cast<int>(engine() % rows);
  }

  double key(std::int64_t row, int d) const {
    const std::uint8_t* bytes = &kv[row * kv_stride];
    const auto bf16_at = [&](std::int64_t offset) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes + offset, 2);
      return double{bf16_to_float(bits)};
    };
    if (format == Format::kBf16) return bf16_at(2 * d);
    if (d >= kLatentDim) return bf16_at(kKvFp8RopeOffset + 2 * (d - kLatentDim));
    float s = 0;
    std::memcpy(&s, bytes + kKvFp8ScaleOffset + 4 * (d / kQuantGroup), 4);
    return double{e4m3_to_float(bytes[d])} * s;
  }
};

struct Output {
  std::vector<std::uint16_t> out;  // with canaries and gaps
  std::vector<float> lse;
};

enum class Kernel { kPrefill, kDecode, kPlain, kCluster, kVariant };

// Runs a kernel on poisoned outputs. `cluster` is used with kCluster, `variant` with kVariant only.
Output run(const Case& c, Kernel kernel, int cluster = 1, Variant variant = Variant::kDefault) {
  const auto q = DeviceArray<std::uint16_t>::copy_of(c.q).value();
  const auto kv = DeviceArray<std::uint8_t>::copy_of(c.kv).value();
  const auto indices = DeviceArray<std::int32_t>::copy_of(c.indices).value();
  const auto lengths = DeviceArray<std::int32_t>::copy_of(c.topk_length).value();
  const std::vector<std::uint16_t> poison(c.tokens * c.out_token + 2 * kCanary, kPoison);
  const auto out = DeviceArray<std::uint16_t>::copy_of(poison).value();
  const auto lse =
      DeviceArray<float>::copy_of(std::vector<float>(c.tokens * (c.heads + 5), -12345)).value();
  const SparseMlaParams params{.q = q.data(),
                               .kv = {.data = kv.data(),
                                      .format = c.format,
                                      .rows = c.rows,
                                      .row_stride_bytes = c.kv_stride},
                               .indices = indices.data(),
                               .topk_length = lengths.data(),
                               .out = out.data() + kCanary,
                               .lse = lse.data(),
                               .tokens = c.tokens,
                               .heads = c.heads,
                               .topk = c.topk,
                               .q_token_stride = c.q_token,
                               .q_head_stride = c.q_head,
                               .indices_stride = c.list,
                               .out_token_stride = c.out_token,
                               .out_head_stride = c.out_head,
                               .lse_stride = c.heads + 5,
                               .scale = c.scale};
  Result<void> done;
  switch (kernel) {
    case Kernel::kPrefill:
      done = sparse_mla_prefill(params, nullptr);
      break;
    case Kernel::kDecode:
      done = sparse_mla_decode(params, nullptr, 0, nullptr);
      break;
    case Kernel::kPlain:
      done = sparse_mla_plain(params, nullptr);
      break;
    case Kernel::kCluster: {
      const auto items = static_cast<int>(c.tokens * sm90::sparse_mla::head_tiles(c.heads));
      const sm90::sparse_mla::Shape shape{
          .cluster = cluster, .grid = cluster == 1 ? std::min(items, 7) : items * cluster};
      const cudaError_t code =
          c.format == Format::kBf16
              ? sm90::sparse_mla::launch<Format::kBf16, 1>(params, shape, nullptr)
              : sm90::sparse_mla::launch<Format::kFp8, 1>(params, shape, nullptr);
      EXPECT_EQ(code, cudaSuccess) << cudaGetErrorString(code);
      break;
    }
    case Kernel::kVariant: {
      constexpr std::uint8_t kUntouched = 0xff;  // of floats: NaN
      const std::size_t size =
          sparse_mla_variant_workspace(params, variant, gpu::current_sm_count().value());
      const auto workspace =
          DeviceArray<std::uint8_t>::filled_with_byte(size + kCanary, kUntouched).value();
      done = sparse_mla_variant(params, variant, workspace.data(), size, nullptr);
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
      const auto after = workspace.to_host().value();
      EXPECT_TRUE(std::all_of(after.begin() + static_cast<std::ptrdiff_t>(size), after.end(),
                              [](std::uint8_t byte) { return byte == kUntouched; }))
          << "wrote past the workspace";
      break;
    }
  }
  EXPECT_TRUE(done) << done.error().message();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
  return {.out = out.to_host().value(), .lse = lse.to_host().value()};
}

// Everything around and between the rows is as it was.
void expect_gaps_untouched(const Case& c, const Output& got) {
  std::int64_t touched = 0;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(got.out.size()); ++i) {
    const std::int64_t at = i - kCanary;
    const bool inside = at >= 0 && at < c.tokens * c.out_token;
    const std::int64_t in_token = inside ? at % c.out_token : 0;
    const bool written =
        inside && in_token / c.out_head < c.heads && in_token % c.out_head < kLatentDim;
    touched += !written && got.out[i] != kPoison;
  }
  EXPECT_EQ(touched, 0);
  for (std::int64_t t = 0; t < c.tokens; ++t)
    for (int i = c.heads; i < c.heads + 5; ++i)
      ASSERT_EQ(got.lse[t * (c.heads + 5) + i], -12345) << "lse gap of token " << t;
}

// Against double, element by element. With u = 2^-8 (half a unit in the last of bf16's 8 bits):
//   P is rounded once (u), out once (u); a score carries the error of f32 sums of 576 exact
//   products, at most e_s = 2^-20 * sum |q k| * scale (tensor cores truncate below 2^-22 of the
//   largest term, 36 additions), which moves a weight by that much relative, both in the sum and in
//   the total. So |error| <= (u + 2 e_s + 2^-18) * A + u * |out|, A = sum p |v| / sum p.
//   fp8: rows are values times bf16(scale), rounded to bf16: nothing is lost when the scale is a
//   power of two; otherwise 2u relative in v, and independent errors in the 512 terms of a score,
//   of which we take 6 standard deviations: e_k = 6 * 2u * scale * sqrt(sum (q k)^2).
void expect_matches_double(const Case& c, const Output& got) {
  const double u = std::ldexp(1.0, -8);
  const double loss = c.format == Format::kFp8 && !c.powers_of_two ? 2 * u : 0;
  expect_gaps_untouched(c, got);
  int failures = 0;
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    std::int64_t length = c.topk;
    if (!c.topk_length.empty()) length = std::clamp<std::int64_t>(c.topk_length[t], 0, c.topk);
    std::vector<std::vector<double>> listed;
    for (std::int64_t i = 0; i < length; ++i) {
      const int index = c.indices[t * c.list + i];
      if (index < 0 || index >= c.rows) continue;
      std::vector<double> row(kKeyDim);
      for (int d = 0; d < kKeyDim; ++d) row[d] = c.key(index, d);
      listed.push_back(std::move(row));
    }
    for (int h = 0; h < c.heads; ++h) {
      std::vector<double> scores(listed.size());
      double largest = -kInfinity;
      double e_s = 0;
      for (std::size_t i = 0; i < listed.size(); ++i) {
        double dot = 0, absolute = 0, square = 0;
        for (int d = 0; d < kKeyDim; ++d) {
          const double term =
              double{bf16_to_float(c.q[t * c.q_token + h * c.q_head + d])} * listed[i][d];
          dot += term;
          absolute += std::abs(term);
          if (d < kLatentDim) square += term * term;
        }
        scores[i] = dot * c.scale;
        largest = std::max(largest, scores[i]);
        e_s = std::max(e_s, std::abs(c.scale) *
                                (absolute * std::ldexp(1.0, -20) + 6 * loss * std::sqrt(square)));
      }
      double sum = 0;
      std::vector<double> out(kLatentDim), average(kLatentDim);
      for (std::size_t i = 0; i < listed.size(); ++i) {
        const double weight = std::exp(scores[i] - largest);
        sum += weight;
        for (int d = 0; d < kLatentDim; ++d) {
          out[d] += weight * listed[i][d];
          average[d] += weight * std::abs(listed[i][d]);
        }
      }
      const float lse = got.lse[t * (c.heads + 5) + h];
      if (listed.empty()) {
        EXPECT_EQ(lse, -kInfinity);
      } else {
        // log of a sum of weights that are each off by e_s, plus f32's roundings.
        const double expected = largest + std::log(sum);
        if (!(std::abs(lse - expected) <= e_s + 1e-5 * (1 + std::abs(expected))) && failures++ < 5)
          ADD_FAILURE() << "lse of token " << t << " head " << h << ": " << lse << ", expected "
                        << expected;
      }
      for (int d = 0; d < kLatentDim; ++d) {
        const double expected = listed.empty() ? 0 : out[d] / sum;
        const double a = listed.empty() ? 0 : average[d] / sum;
        const double value = bf16_to_float(got.out[kCanary + t * c.out_token + h * c.out_head + d]);
        const double allowed =
            (u + loss + 2 * e_s + std::ldexp(1.0, -18)) * a + u * std::abs(expected);
        if (!(std::abs(value - expected) <= allowed) && failures++ < 5)
          ADD_FAILURE() << "token " << t << " head " << h << " column " << d << ": " << value
                        << ", expected " << expected << " +- " << allowed;
      }
    }
  }
  EXPECT_EQ(failures, 0) << "seed " << c.seed;
}

void expect_same(const Output& a, const Output& b) {
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(std::memcmp(a.lse.data(), b.lse.data(), a.lse.size() * sizeof(float)), 0);
}

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

// Those of decode; prefill has none beside them.
std::vector<Variant> variants_for(const Case& c) {
  return variants_of({.kernel = TunedKernel::kSparseDecode,
                      .fp8 = c.format == Format::kFp8,
                      .heads = c.heads,
                      .rows = c.tokens,
                      .columns = c.topk},
                     gpu::current_sm_count().value());
}

TEST_P(SparseMlaGpuTest, EveryVariantMatchesDouble) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [tokens, topk] : {std::pair{1, 2048}, {3, 130}, {5, 1000}, {17, 200}}) {
    Case c = given();
    c.tokens = tokens;
    c.topk = topk;
    c.wide = tokens == 3;
    c.make();
    for (const Variant variant : variants_for(c)) {
      SCOPED_TRACE(std::string(name(variant)) + ", " + std::to_string(tokens) + " tokens");
      const Output got = run(c, Kernel::kVariant, 1, variant);
      expect_matches_double(c, got);
      expect_same(got, run(c, Kernel::kVariant, 1, variant));
    }
  }
}

TEST_P(SparseMlaGpuTest, EveryVariantTakesRaggedLengthsAndEmptyLists) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.topk = 320;
  c.topk_length = {0, 1, 63, 64, 65, 320, 999, 0, -7, 200, 128};
  c.tokens = static_cast<std::int64_t>(c.topk_length.size());
  c.make();
  std::fill_n(c.indices.begin() + 6 * c.list, c.list, -1);
  for (const Variant variant : variants_for(c)) {
    SCOPED_TRACE(name(variant));
    expect_matches_double(c, run(c, Kernel::kVariant, 1, variant));
  }
}

TEST_P(SparseMlaGpuTest, EveryVariantRescalesAndKeepsNanToItsToken) {
  DSAPERF_REQUIRE_GPU();
  Case c = given();
  c.topk = 640;
  c.skipped = 0;
  c.scale = 1.5F;
  c.make();
  for (const Variant variant : variants_for(c)) {
    SCOPED_TRACE(name(variant));
    expect_matches_double(c, run(c, Kernel::kVariant, 1, variant));
  }
  for (auto& index : c.indices) index = index == 5 ? 6 : index;
  c.indices[c.list + 70] = 5;  // token 1
  const std::uint16_t nan = 0x7fc0;
  if (c.format == Format::kBf16) {
    std::memcpy(&c.kv[5 * c.kv_stride + 2 * 40], &nan, 2);
  } else {
    c.kv[5 * c.kv_stride + 40] = 0xff;
  }
  for (const Variant variant : variants_for(c)) {
    SCOPED_TRACE(name(variant));
    const Output got = run(c, Kernel::kVariant, 1, variant);
    for (std::int64_t t = 0; t < c.tokens; ++t)
      for (int h = 0; h < c.heads; ++h) {
        const float value =
            bf16_to_float(got.out[kCanary + t * c.out_token + h * c.out_head + 300]);
        ASSERT_EQ(std::isnan(value), t == 1) << "token " << t << " head " << h;
      }
  }
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
