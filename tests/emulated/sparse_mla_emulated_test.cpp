// Sparse attention on emulated CTAs, tensor cores included: every way of merging, one and two
// converting warpgroups, against the double reference.
#include "combine_launch.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/few_heads.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

using Format = KvRows::Format;

struct Case {
  Format format = Format::kBf16;
  int heads = 16;
  std::vector<std::int32_t> lengths{};  // of the tokens' lists
  int topk = 200;
  float scale = 0.05F;
};

struct Result {
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
};

// Inputs at 16-byte alignment, as the kernels need.
class Inputs {
 public:
  explicit Inputs(const Case& c)
      : tokens_(static_cast<int>(c.lengths.size())), lengths_(c.lengths) {
    std::mt19937 engine(9);
    std::normal_distribution<double> normal;
    const int row_bytes = c.format == Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
    q_.resize(tokens_ * c.heads * kKeyDim * 2 / 16 + 1);
    kv_.resize(kRows * row_bytes / 16 + 1);
    auto* q = reinterpret_cast<std::uint16_t*>(q_.data());
    for (int i = 0; i < tokens_ * c.heads * kKeyDim; ++i) q[i] = bf16_from(normal(engine));
    auto* bytes = reinterpret_cast<std::uint8_t*>(kv_.data());
    for (int r = 0; r < kRows; ++r) {
      std::uint8_t* row = bytes + r * row_bytes;
      const auto put = [&](int at) {
        const std::uint16_t bits = bf16_from(normal(engine));
        std::memcpy(row + at, &bits, 2);
      };
      if (c.format == Format::kBf16) {
        for (int d = 0; d < kKeyDim; ++d) put(2 * d);
        continue;
      }
      for (int d = 0; d < kLatentDim; ++d) row[d] = e4m3_from(normal(engine));
      for (int g = 0; g < kKvFp8Scales; ++g) {
        const float scale = std::ldexp(1.0F, static_cast<int>(engine() % 3) - 1);
        std::memcpy(row + kKvFp8ScaleOffset + 4 * g, &scale, 4);
      }
      for (int d = 0; d < kRopeDim; ++d) put(kKvFp8RopeOffset + 2 * d);
    }
    for (int i = 0; i < tokens_ * c.topk; ++i)
      indices_.push_back(engine() % 5 == 0 ? -1 : static_cast<std::int32_t>(engine() % kRows));
    params_ = {.q = q_.data(),
               .kv = {.data = kv_.data(),
                      .format = c.format,
                      .rows = kRows,
                      .row_stride_bytes = row_bytes},
               .indices = indices_.data(),
               .topk_length = lengths_.data(),
               .tokens = tokens_,
               .heads = c.heads,
               .topk = c.topk,
               .q_token_stride = std::int64_t{c.heads} * kKeyDim,
               .q_head_stride = kKeyDim,
               .indices_stride = c.topk,
               .out_token_stride = std::int64_t{c.heads} * kLatentDim,
               .out_head_stride = kLatentDim,
               .lse_stride = c.heads,
               .scale = c.scale};
  }

  // Runs `kernel` on poisoned outputs.
  template <class Kernel>
  Result run(Kernel kernel) {
    std::vector<uint4> out(tokens_ * params_.heads * kLatentDim * 2 / 16);
    std::memset(out.data(), 0x7f, out.size() * 16);
    Result result;
    result.lse.assign(tokens_ * params_.heads, NAN);
    params_.out = out.data();
    params_.lse = result.lse.data();
    kernel(static_cast<const SparseMlaParams&>(params_));
    const auto* bits = reinterpret_cast<const std::uint16_t*>(out.data());
    result.out.assign(bits, bits + tokens_ * params_.heads * kLatentDim);
    return result;
  }

 private:
  static constexpr int kRows = 300;
  int tokens_;
  std::vector<std::int32_t> lengths_;
  std::vector<uint4> q_, kv_;
  std::vector<std::int32_t> indices_;
  SparseMlaParams params_;
};

void expect_close(const Result& got, const Result& expected, const std::string& what) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.out.size(); ++i) {
    const double a = bf16_to_float(got.out[i]), b = bf16_to_float(expected.out[i]);
    difference += (a - b) * (a - b);
    size += b * b;
  }
  // P and the output are rounded to bf16 once each: 2^-9 relative on average, twice.
  EXPECT_LE(std::sqrt(difference / size), std::ldexp(1.0, -8)) << what;
  for (std::size_t i = 0; i < got.lse.size(); ++i) {
    if (std::isinf(expected.lse[i])) {
      EXPECT_EQ(got.lse[i], expected.lse[i]) << what << ", " << i;
    } else {
      EXPECT_NEAR(got.lse[i], expected.lse[i], 1e-4 * (1 + std::abs(expected.lse[i])))
          << what << ", " << i;
    }
  }
}

template <Format kFormat, int kProducers>
void expect_every_merge(const Case& c, unsigned seed) {
  using R = Roles<kFormat, kProducers>;
  Inputs inputs(c);
  const auto expected =
      inputs.run([](const SparseMlaParams& params) { ASSERT_TRUE(sparse_mla_reference(params)); });
  const int items = static_cast<int>(c.lengths.size()) * head_tiles(c.heads);
  const std::string what = std::to_string(c.heads) + " heads, " + std::to_string(kProducers) +
                           " producers, seed " + std::to_string(seed);
  expect_close(inputs.run([&](const SparseMlaParams& params) {
    emulated::launch(std::min(items, 2), R::kThreads, 1, seed,
                     [&] { sparse_mla_kernel<kFormat, Merge::kNone, kProducers>(params); });
  }),
               expected, what + ", alone");
  expect_close(inputs.run([&](const SparseMlaParams& params) {
    emulated::launch(3 * items, R::kThreads, 3, seed,
                     [&] { sparse_mla_kernel<kFormat, Merge::kCluster, kProducers>(params); });
  }),
               expected, what + ", cluster");
  for (const int parts : {2, 5}) {
    expect_close(inputs.run([&](const SparseMlaParams& params) {
      std::vector<uint4> workspace(parts_workspace(items, parts) / sizeof(uint4));
      std::memset(workspace.data(), 0xff, workspace.size() * sizeof(uint4));
      const PartsParams with = with_parts(params, parts, workspace.data());
      emulated::launch(items * parts, R::kThreads, 1, seed,
                       [&] { sparse_mla_parts_kernel<kFormat, kProducers>(with); });
      run_combine(with, 132, seed);
    }),
                 expected, what + ", " + std::to_string(parts) + " parts");
  }
}

// Blocks that each of `ctas` persistent CTAs walks over, of lists of these lengths.
std::vector<int> blocks_of_ctas(int ctas, std::vector<std::int32_t> lengths) {
  SparseMlaParams params;
  params.topk_length = lengths.data();
  params.tokens = static_cast<std::int64_t>(lengths.size());
  params.heads = 64;
  params.topk = *std::ranges::max_element(lengths);
  std::vector<int> blocks(ctas);
  std::vector<int> taken(lengths.size());
  emulated::launch(ctas, 32, 1, 1, [&] {
    if (threadIdx.x != 0) return;
    for (Work<Merge::kNone> work(params); work.valid(); work.next()) {
      const Item item = work.item(params);
      ++taken[item.token];
      blocks[blockIdx.x] += item.last_block - item.first_block;
    }
  });
  EXPECT_EQ(taken, std::vector<int>(lengths.size(), 1));
  return blocks;
}

TEST(SparseMlaEmulatedTest, PersistentCtasShareGrowingListsEvenly) {
  std::vector<std::int32_t> lengths;
  for (int i = 1; i <= 83; ++i) lengths.push_back(64 * i);
  const auto blocks = blocks_of_ctas(8, lengths);
  const int mean = 83 * 84 / 2 / 8;
  EXPECT_LE(std::ranges::max(blocks), mean + 83 / 8);
  EXPECT_GE(std::ranges::min(blocks), mean - 83 / 8);
}

TEST(SparseMlaEmulatedTest, Bf16RowsInEveryMerge) {
  expect_every_merge<Format::kBf16, 1>({.lengths = {500}, .topk = 500}, 1);
}

// P of a block is made by the reference there is, and once more where scores exceed it.
TEST(SparseMlaEmulatedTest, Bf16AccumulatorsShrinkWhereScoresRise) {
  for (const float scale : {1.0F, -0.05F, 0.0F})
    expect_every_merge<Format::kBf16, 1>({.lengths = {320}, .topk = 320, .scale = scale}, 1);
}

TEST(SparseMlaEmulatedTest, Fp8RowsInEveryMergeWithOneAndTwoProducers) {
  const Case c{.format = Format::kFp8, .lengths = {200, 130, 1}};
  expect_every_merge<Format::kFp8, 1>(c, 1);
  expect_every_merge<Format::kFp8, 2>(c, 1);
  expect_every_merge<Format::kFp8, 2>(c, 2);
}

template <int kHeads>
void expect_few_heads(Case c, int ctas, unsigned seed) {
  c.heads = kHeads;
  Inputs inputs(c);
  const auto expected =
      inputs.run([](const SparseMlaParams& params) { ASSERT_TRUE(sparse_mla_reference(params)); });
  const auto run = [&](unsigned drawn) {
    return inputs.run([&](const SparseMlaParams& params) {
      emulated::launch(ctas, kFewThreads, 1, drawn, [&] { few_heads_kernel<kHeads>(params); });
    });
  };
  const auto got = run(seed);
  const std::string what = std::to_string(kHeads) + " heads, scale " + std::to_string(c.scale);
  expect_close(got, expected, what);
  const auto again = run(seed + 100);
  EXPECT_EQ(got.out, again.out) << what;
}

TEST(SparseMlaEmulatedTest, FewHeadsWithSwappedOperands) {
  const Case c{.lengths = {300, 0, 64, 1, 129}, .topk = 300};
  expect_few_heads<8>(c, 1, 1);
  expect_few_heads<16>(c, 2, 2);
  expect_few_heads<32>(c, 1, 3);
}

TEST(SparseMlaEmulatedTest, FewHeadsRescaleWhatTheyHave) {
  for (const float scale : {1.0F, -0.05F, 0.0F}) {
    const Case c{.lengths = {400, 320}, .topk = 400, .scale = scale};
    expect_few_heads<8>(c, 1, 4);
    expect_few_heads<16>(c, 1, 5);
    expect_few_heads<32>(c, 1, 6);
  }
}

TEST(SparseMlaEmulatedTest, TwoHeadTilesAndLongerListsWithTwoProducers) {
  expect_every_merge<Format::kFp8, 2>(
      {.format = Format::kFp8, .heads = 128, .lengths = {450}, .topk = 450, .scale = 1}, 3);
}

}  // namespace
}  // namespace dsaperf::kernels::sm90::sparse_mla
