#pragma once

#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
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

// Cases of sparse attention on a GPU, how they are run and what is expected of them.
namespace dsaperf::kernels::sparse_mla_case {

using Format = KvRows::Format;
using gpu::DeviceArray;

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr std::uint16_t kPoison = 0x7fc1;  // a bf16 NaN that no kernel writes
inline constexpr int kCanary = 64;                // elements before and after an output

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
inline Output run(const Case& c, Kernel kernel, int cluster = 1,
                  Variant variant = Variant::kDefault) {
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
inline void expect_gaps_untouched(const Case& c, const Output& got) {
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
inline void expect_matches_double(const Case& c, const Output& got) {
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

inline void expect_same(const Output& a, const Output& b) {
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(std::memcmp(a.lse.data(), b.lse.data(), a.lse.size() * sizeof(float)), 0);
}

}  // namespace dsaperf::kernels::sparse_mla_case
