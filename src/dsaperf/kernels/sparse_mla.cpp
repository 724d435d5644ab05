#include "dsaperf/kernels/sparse_mla.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace dsaperf::kernels {
namespace {

using Row = std::array<double, kKeyDim>;

Row read_row(const KvRows& kv, std::int64_t index) {
  Row row;
  const auto* bytes = static_cast<const std::uint8_t*>(kv.data) + index * kv.row_stride_bytes;
  const auto bf16_at = [bytes](std::int64_t offset) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes + offset, sizeof bits);
    return bf16_to_float(bits);
  };
  if (kv.format == KvRows::Format::kBf16) {
    for (int d = 0; d < kKeyDim; ++d) row[d] = bf16_at(2 * d);
    return row;
  }
  std::array<float, kKvFp8Scales> scales{};
  std::memcpy(scales.data(), bytes + kKvFp8ScaleOffset, sizeof scales);
  for (int d = 0; d < kLatentDim; ++d)
    row[d] = static_cast<double>(e4m3_to_float(bytes[d])) * scales[d / kQuantGroup];
  for (int d = 0; d < kRopeDim; ++d) row[kLatentDim + d] = bf16_at(kKvFp8RopeOffset + 2 * d);
  return row;
}

// The rows that one token attends to, duplicates kept.
std::vector<Row> selected_rows(const SparseMlaParams& params, std::int64_t token) {
  std::int64_t length = params.topk;
  if (params.topk_length != nullptr)
    length = std::min<std::int64_t>(length, std::max(params.topk_length[token], 0));
  std::vector<Row> rows;
  for (std::int64_t i = 0; i < length; ++i) {
    const std::int32_t index = params.indices[token * params.indices_stride + i];
    if (index >= 0 && index < params.kv.rows) rows.push_back(read_row(params.kv, index));
  }
  return rows;
}

struct HeadResult {
  std::array<double, kLatentDim> out{};
  double lse = -std::numeric_limits<double>::infinity();
};

HeadResult attend(const std::uint16_t* query, const std::vector<Row>& rows, double scale) {
  HeadResult result;
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (const Row& row : rows) {
    double dot = 0;
    for (int d = 0; d < kKeyDim; ++d) dot += bf16_to_float(query[d]) * row[d];
    scores.push_back(scale * dot);
    if (std::isnan(scores.back()) || scores.back() > largest) largest = scores.back();
    if (std::isnan(largest)) break;
  }
  if (std::isnan(largest) || largest == std::numeric_limits<double>::infinity()) {
    result.out.fill(std::numeric_limits<double>::quiet_NaN());  // inf - inf within the softmax
    result.lse = largest;
    return result;
  }
  if (largest == -std::numeric_limits<double>::infinity()) return result;
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double weight = std::exp(scores[i] - largest);
    sum += weight;
    for (int d = 0; d < kLatentDim; ++d) result.out[d] += weight * rows[i][d];
  }
  for (double& value : result.out) value /= sum;
  result.lse = largest + std::log(sum);
  return result;
}

}  // namespace

Result<void> sparse_mla_check(const SparseMlaParams& params) {
  const auto& p = params;
  if (p.tokens < 0) return fail(Errc::kInvalidArgument, "sparse_mla: tokens {} < 0", p.tokens);
  if (p.heads != 8 && p.heads != 16 && p.heads != 32 && p.heads != 64 && p.heads != 128)
    return fail(Errc::kInvalidArgument, "sparse_mla: heads {} is not 8, 16, 32, 64 or 128",
                p.heads);
  if (p.topk < 1) return fail(Errc::kInvalidArgument, "sparse_mla: topk {} < 1", p.topk);
  if (p.kv.format != KvRows::Format::kBf16 && p.kv.format != KvRows::Format::kFp8)
    return fail(Errc::kInvalidArgument, "sparse_mla: unknown cache format");
  const int row_bytes = p.kv.format == KvRows::Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
  if (p.kv.rows < 0) return fail(Errc::kInvalidArgument, "sparse_mla: kv.rows {} < 0", p.kv.rows);
  if (p.kv.rows > 1 && p.kv.row_stride_bytes < row_bytes)
    return fail(Errc::kInvalidArgument, "sparse_mla: kv.row_stride_bytes {} < {}",
                p.kv.row_stride_bytes, row_bytes);
  if (!std::isfinite(p.scale))
    return fail(Errc::kInvalidArgument, "sparse_mla: scale is not a finite number");
  if (p.tokens == 0) return {};
  if (p.q == nullptr || p.indices == nullptr || p.out == nullptr)
    return fail(Errc::kInvalidArgument, "sparse_mla: q, indices or out is null");
  if (p.kv.rows > 0 && p.kv.data == nullptr)
    return fail(Errc::kInvalidArgument, "sparse_mla: kv.data is null");
  if (p.q_head_stride < kKeyDim || p.out_head_stride < kLatentDim)
    return fail(Errc::kInvalidArgument, "sparse_mla: a head stride is less than a row ({}, {})",
                p.q_head_stride, p.out_head_stride);
  if (p.tokens > 1 && (p.q_token_stride < kKeyDim || p.out_token_stride < kLatentDim ||
                       p.indices_stride < p.topk || (p.lse != nullptr && p.lse_stride < p.heads)))
    return fail(Errc::kInvalidArgument, "sparse_mla: a token stride is less than a row");
  return {};
}

Result<void> sparse_mla_reference(const SparseMlaParams& params) {
  DSAPERF_TRY(sparse_mla_check(params));
  for (std::int64_t token = 0; token < params.tokens; ++token) {
    const std::vector<Row> rows = selected_rows(params, token);
    for (int head = 0; head < params.heads; ++head) {
      const HeadResult result =
          attend(static_cast<const std::uint16_t*>(params.q) + token * params.q_token_stride +
                     head * params.q_head_stride,
                 rows, params.scale);
      auto* out = static_cast<std::uint16_t*>(params.out) + token * params.out_token_stride +
                  head * params.out_head_stride;
      for (int d = 0; d < kLatentDim; ++d) out[d] = bf16_from(result.out[d]);
      if (params.lse != nullptr)
        params.lse[token * params.lse_stride + head] = static_cast<float>(result.lse);
    }
  }
  return {};
}

}  // namespace dsaperf::kernels
