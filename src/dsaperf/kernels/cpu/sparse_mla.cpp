#include "dsaperf/kernels/sparse_mla.hpp"

#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/cpu/sgemm.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace dsaperf::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void read_row(const KvRows& kv, std::int64_t index, float* row) {
  const auto* bytes = static_cast<const std::uint8_t*>(kv.data) + index * kv.row_stride_bytes;
  std::array<std::uint16_t, kKeyDim> bits;
  if (kv.format == KvRows::Format::kBf16) {
    std::memcpy(bits.data(), bytes, kKvRowBytesBf16);
    for (int d = 0; d < kKeyDim; ++d) row[d] = bf16_to_float(bits[d]);
    return;
  }
  std::array<float, kKvFp8Scales> scales{};
  std::memcpy(scales.data(), bytes + kKvFp8ScaleOffset, sizeof scales);
  for (int d = 0; d < kLatentDim; ++d) row[d] = e4m3_to_float(bytes[d]) * scales[d / kQuantGroup];
  std::memcpy(bits.data(), bytes + kKvFp8RopeOffset, 2 * kRopeDim);
  for (int d = 0; d < kRopeDim; ++d) row[kLatentDim + d] = bf16_to_float(bits[d]);
}

std::vector<std::int32_t> selected(const SparseMlaParams& p, std::int64_t token) {
  std::int64_t length = p.topk;
  if (p.topk_length != nullptr)
    length = std::min<std::int64_t>(length, std::max(p.topk_length[token], 0));
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < length; ++i) {
    const std::int32_t index = p.indices[token * p.indices_stride + i];
    if (index >= 0 && index < p.kv.rows) rows.push_back(index);
  }
  return rows;
}

// Cache rows as f32, each converted once if tokens share rows (prefill); otherwise as needed.
class WideRows {
 public:
  WideRows(const SparseMlaParams& p, int threads) : kv_(p.kv) {
    std::vector<std::int32_t> used;
    place_.assign(p.kv.rows, -1);
    std::int64_t references = 0;
    for (std::int64_t t = 0; t < p.tokens; ++t) {
      for (const std::int32_t row : selected(p, t)) {
        ++references;
        if (place_[row] >= 0) continue;
        place_[row] = static_cast<std::int32_t>(used.size());
        used.push_back(row);
      }
    }
    if (references < 2 * static_cast<std::int64_t>(used.size())) {
      place_.clear();
      return;
    }
    values_.resize(used.size() * kKeyDim);
    parallel_ranges(static_cast<std::int64_t>(used.size()), 256, threads,
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i)
                        cpu::read_row(kv_, used[i], &values_[i * kKeyDim]);
                    });
  }

  void read(std::int32_t row, float* out) const {
    if (place_.empty())
      cpu::read_row(kv_, row, out);
    else
      std::memcpy(out, &values_[std::int64_t{place_[row]} * kKeyDim], sizeof(float) * kKeyDim);
  }

 private:
  KvRows kv_;
  std::vector<std::int32_t> place_;  // of each cache row in values_; empty: nothing is kept
  std::vector<float> values_;
};

// Scores become exp(score - largest) in place; returns the sum and the largest. NaN or +inf make
// every weight NaN; all -inf make the sum 0.
struct Softmax {
  float largest = -kInfinity;
  float sum = 0;
};

Softmax softmax(float* scores, std::int64_t count, float scale) {
  Softmax result;
  bool nan = false;
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] *= scale;
    nan = nan || std::isnan(scores[i]);
    result.largest = std::max(result.largest, scores[i]);
  }
  if (nan) result.largest = std::numeric_limits<float>::quiet_NaN();
  if (result.largest == -kInfinity) {
    std::fill(scores, scores + count, 0.0F);
    return result;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] = std::exp(scores[i] - result.largest);
    result.sum += scores[i];
  }
  return result;
}

void attend(const SparseMlaParams& p, std::int64_t token, const WideRows& wide) {
  const std::vector<std::int32_t> rows = selected(p, token);
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<float> kv(count * kKeyDim);
  for (std::int64_t i = 0; i < count; ++i) wide.read(rows[i], &kv[i * kKeyDim]);
  std::vector<float> query(p.heads * kKeyDim);
  const auto* q = static_cast<const std::uint16_t*>(p.q) + token * p.q_token_stride;
  for (int h = 0; h < p.heads; ++h)
    for (int d = 0; d < kKeyDim; ++d)
      query[h * kKeyDim + d] = bf16_to_float(q[h * p.q_head_stride + d]);

  std::vector<float> scores(p.heads * count);
  multiply_by_rows(p.heads, count, kKeyDim, query.data(), kKeyDim, kv.data(), kKeyDim,
                   scores.data(), count);
  std::vector<Softmax> heads(p.heads);
  for (int h = 0; h < p.heads; ++h) heads[h] = softmax(scores.data() + h * count, count, p.scale);
  std::vector<float> out(p.heads * kLatentDim, 0.0F);
  if (count > 0)
    multiply_by_columns(p.heads, kLatentDim, count, scores.data(), count, kv.data(), kKeyDim,
                        out.data(), kLatentDim);
  for (int h = 0; h < p.heads; ++h) {
    const auto [largest, sum] = heads[h];
    auto* row =
        static_cast<std::uint16_t*>(p.out) + token * p.out_token_stride + h * p.out_head_stride;
    for (int d = 0; d < kLatentDim; ++d)
      row[d] = sum == 0 ? 0 : bf16_from_float(out[h * kLatentDim + d] / sum);
    if (p.lse != nullptr)
      p.lse[token * p.lse_stride + h] =
          std::isinf(largest) ? largest : largest + std::log(sum);  // -inf, or +inf as it stands
  }
}

}  // namespace

Result<void> sparse_mla(const SparseMlaParams& params, int threads) {
  DSAPERF_TRY(sparse_mla_check(params));
  DSAPERF_TRY(open_blas());
  const WideRows wide(params, threads);
  parallel_for(params.tokens, threads, [&](std::int64_t token) { attend(params, token, wide); });
  return {};
}

}  // namespace dsaperf::kernels::cpu
