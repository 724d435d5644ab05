#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include "dsaperf/core/fail.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

namespace dsaperf::predict::compatible {
namespace {

constexpr DsaDims kDeepseekV32{.hidden = 7168,
                               .q_lora = 1536,
                               .kv_lora = 512,
                               .nope = 128,
                               .rope = 64,
                               .v = 128,
                               .topk = 2048,
                               .index_dim = 128,
                               .index_heads = 64};
constexpr DsaDims kGlm{.hidden = 6144,
                       .q_lora = 2048,
                       .kv_lora = 512,
                       .nope = 192,
                       .rope = 64,
                       .v = 256,
                       .topk = 2048,
                       .index_dim = 128,
                       .index_heads = 32};

constexpr std::string_view kGlmName = "GlmMoeDsaForCausalLM";
constexpr std::string_view kDeepseekV32Name = "DeepseekV32ForCausalLM";

struct NamedTraits {
  std::string_view dtype;
  double bytes;
  std::string_view rate;
};
constexpr std::array<NamedTraits, 10> kTraits = {{
    {"bfloat16", 2, "bfloat16"},
    {"fp8", 1, "fp8"},
    {"fp8_static", 1, "fp8"},
    {"fp8_block", 1, "fp8"},
    {"sq", 1, "int8"},
    {"int8", 1, "int8"},
    {"int8_wo", 1, "bfloat16"},
    {"int4_wo", 0.5, "bfloat16"},
    {"nvfp4", 9.0 / 16, "fp4"},
    {"nvfp4_wo", 9.0 / 16, "bfloat16"},
}};

constexpr double kMillis = 1000;

}  // namespace

const DsaDims& dsa_dims(std::string_view architecture) {
  return architecture == kGlmName ? kGlm : kDeepseekV32;
}

bool has_dsa_dims(std::string_view architecture) {
  return architecture == kGlmName || architecture == kDeepseekV32Name;
}

Result<DtypeTraits> dtype_traits(std::string_view dtype) {
  const auto* found = std::find_if(kTraits.begin(), kTraits.end(), [&](const NamedTraits& traits) {
    return traits.dtype == dtype;
  });
  if (found == kTraits.end())
    return fail(Errc::kNotFound, "aiconfigurator has no dtype '{}' (it has {})", dtype,
                fmt::join(kTraits | std::views::transform(&NamedTraits::dtype), ", "));
  return DtypeTraits{.bytes = found->bytes, .rate = std::string(found->rate)};
}

Result<DsaBound> DsaBound::make(const perfdb::SystemFile& system, std::string_view architecture,
                                std::string_view fmha, std::string_view kv, std::string_view gemm) {
  DSAPERF_TRY_ASSIGN(const auto fmha_traits, dtype_traits(fmha));
  DSAPERF_TRY_ASSIGN(const auto kv_traits, dtype_traits(kv));
  DSAPERF_TRY_ASSIGN(const auto gemm_traits, dtype_traits(gemm));
  DsaBound bound;
  bound.dims_ = dsa_dims(architecture);
  DSAPERF_TRY_ASSIGN(bound.gemm_rate_, system.rate(gemm_traits.rate));
  DSAPERF_TRY_ASSIGN(bound.fmha_rate_, system.rate(fmha_traits.rate));
  DSAPERF_TRY_ASSIGN(bound.fp8_rate_, system.rate("fp8"));
  DSAPERF_TRY_ASSIGN(bound.bf16_rate_, system.rate("bfloat16"));
  bound.bandwidth_ = system.mem_bw;
  bound.gemm_bytes_ = gemm_traits.bytes;
  bound.kv_bytes_ = kv_traits.bytes;
  bound.fmha_bytes_ = fmha_traits.bytes;
  return bound;
}

double DsaBound::projection_flops(double t, double heads) const {
  const auto& d = dims_;
  const double proj = d.q_lora + d.kv_lora + d.rope + d.index_dim;
  return 2 * t * d.hidden * proj + 2 * t * d.q_lora * heads * (d.nope + d.rope) +
         2 * t * d.q_lora * d.index_heads * d.index_dim + 2 * t * d.hidden * d.index_heads +
         2 * t * heads * d.v * d.hidden + 2 * heads * t * d.nope * d.kv_lora +
         2 * heads * t * d.kv_lora * d.v;
}

double DsaBound::weight_bytes(double heads) const {
  const auto& d = dims_;
  const double proj = d.q_lora + d.kv_lora + d.rope + d.index_dim;
  return (d.hidden * proj + d.q_lora * heads * (d.nope + d.rope) +
          d.q_lora * d.index_heads * d.index_dim + d.hidden * d.index_heads +
          heads * d.v * d.hidden) *
         gemm_bytes_;
}

BoundParts DsaBound::context(double heads, double prefix, double s, double batch,
                             BoundKind kind) const {
  const auto& d = dims_;
  const double total = s + prefix;
  const double t = batch * s;
  const bool scores = total > d.topk && kind == BoundKind::kFull;
  const double indexer_flops = scores ? 2 * t * d.index_heads * d.index_dim * total : 0;
  double pairs = 0;
  if (total <= d.topk) {
    pairs = batch * (total * (total + 1) - prefix * (prefix + 1)) / 2;
  } else if (prefix >= d.topk) {
    pairs = t * d.topk;
  } else {
    pairs = batch * (d.topk * (d.topk + 1) - prefix * (prefix + 1)) / 2 +
            batch * (total - d.topk) * d.topk;
  }
  const double attention_flops = 2 * heads * (2 * d.kv_lora + d.rope) * pairs;
  const double math = projection_flops(t, heads) / gemm_rate_ + indexer_flops / fp8_rate_ +
                      attention_flops / fmha_rate_;
  double bytes = weight_bytes(heads) +
                 batch * heads * std::min(total, d.topk) * (d.kv_lora + d.rope) * kv_bytes_ +
                 2 * t * heads * (d.nope + d.rope) * fmha_bytes_;
  if (scores) bytes += batch * total * (d.index_dim + 4 * std::ceil(d.index_dim / 128));
  return {.math_ms = kMillis * math, .memory_ms = kMillis * bytes / bandwidth_};
}

BoundParts DsaBound::generation(double heads, double batch, double total) const {
  const auto& d = dims_;
  const double attended = std::min(total, d.topk);
  const double indexer_flops = 2 * batch * d.index_heads * d.index_dim * total;
  const double attention_flops = 2 * batch * heads * (2 * d.kv_lora + d.rope) * attended;
  const double math = projection_flops(batch, heads) / gemm_rate_ + indexer_flops / fp8_rate_ +
                      attention_flops / bf16_rate_;
  const double bytes = weight_bytes(heads) +
                       batch * total * (d.index_dim + 4 * std::ceil(d.index_dim / 128)) +
                       batch * attended * (d.kv_lora + d.rope) * kv_bytes_;
  return {.math_ms = kMillis * math, .memory_ms = kMillis * bytes / bandwidth_};
}

}  // namespace dsaperf::predict::compatible
