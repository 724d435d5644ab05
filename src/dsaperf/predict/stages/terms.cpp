#include "dsaperf/predict/stages/terms.hpp"

#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using model::Stage;
using perfdb::Phase;

constexpr double kPerMilli = 1e-3;
constexpr double kBf16Bytes = 2;
constexpr double kIndexRowBytes = 132;

// Terms that every phase and regime has, in this order.
constexpr std::array<Term, 16> kCommon = {{
    {"launches", std::nullopt, 0, 1.5},
    {"requests", std::nullopt, 0, 0},
    {"token_bytes", Stage::kNormRope},
    {"query_bytes", Stage::kNormRope},
    {"qkv_a_gemm", Stage::kQkvAProjection, 1},
    {"qkv_a_flops", Stage::kQkvAProjection},
    {"q_b_gemm", Stage::kQBProjection, 1},
    {"o_gemm", Stage::kOProjection, 1},
    {"head_flops", Stage::kOProjection},
    {"indexer_gemm", Stage::kIndexerProjection, 1},
    {"absorb_flops", Stage::kAbsorb, 1.5},
    {"absorb_weights", Stage::kVUp, 1, 1},
    {"cache_rows", Stage::kCacheWrite, 0, std::nullopt, true},
    {"q_b_waves", Stage::kQBProjection},
    {"o_waves", Stage::kOProjection},
    {"head_tiles", Stage::kQBProjection, 0, 0},
}};
constexpr std::array<Term, 7> kDenseContext = {{
    {"attention_expanded", Stage::kAttention, 1.6},
    {"attention_absorbed", Stage::kAttention},
    {"attention_padded", Stage::kAttention, 0.9},
    {"attention_rectangle", Stage::kAttention},
    {"expand_flops", Stage::kAttention, 1.5},
    {"expand_bytes", Stage::kAttention, 1},
    {"index_pairs", Stage::kIndexerScores},
}};
constexpr std::array<Term, 11> kSparseContext = {{
    {"attention_pairs", Stage::kAttention, 0.9},
    {"attention_padded", Stage::kAttention, 0.9},
    {"attention_full_topk", Stage::kAttention},
    {"gather", Stage::kAttention, 0.5},
    {"score_pairs", Stage::kIndexerScores, 2.2},
    {"score_rectangle", Stage::kIndexerScores},
    {"index_keys", Stage::kIndexerScores, 1, std::nullopt, true},
    {"topk_pairs", Stage::kTopk, 3},
    {"topk_rectangle", Stage::kTopk},
    {"topk_rows", Stage::kTopk},
    {"context_tokens", std::nullopt, 0, std::nullopt, true},
}};
constexpr std::array<Term, 17> kGeneration = {{
    {"gather", Stage::kAttention, 0.5},
    {"attention_pairs", Stage::kAttention},
    {"attention_padded", Stage::kAttention},
    {"attention_full_topk", Stage::kAttention},
    {"index_keys", Stage::kIndexerScores, 1},
    {"score_pairs", Stage::kIndexerScores, 2.2},
    {"topk_pairs", Stage::kTopk, 3},
    {"topk_length", Stage::kTopk},
    {"topk_passes", Stage::kTopk},
    {"topk_beyond_4096", Stage::kTopk},
    {"attention_waves", Stage::kAttention, 0.9},
    {"attention_waves_full_topk", Stage::kAttention},
    {"topk_waves", Stage::kTopk},
    {"attention_merge", Stage::kAttention},
    {"token_doublings", std::nullopt},
    {"topk_up_to_4096", Stage::kTopk},
    {"topk_beyond_32768", Stage::kTopk},
}};

template <std::size_t kFirst, std::size_t kSecond>
constexpr std::array<Term, kFirst + kSecond> joined(const std::array<Term, kFirst>& a,
                                                    const std::array<Term, kSecond>& b) {
  std::array<Term, kFirst + kSecond> all{};
  for (std::size_t i = 0; i < kFirst; ++i) all[i] = a[i];
  for (std::size_t i = 0; i < kSecond; ++i) all[kFirst + i] = b[i];
  return all;
}
constexpr auto kDenseContextTerms = joined(kCommon, kDenseContext);
constexpr auto kSparseContextTerms = joined(kCommon, kSparseContext);
constexpr auto kGenerationTerms = joined(kCommon, kGeneration);
static_assert(std::max(kSparseContextTerms.size(), kGenerationTerms.size()) <= kMaxTerms);

// (token, visible token) pairs of one request, each token seeing at most `cap`.
double pairs(double past, double total, double cap) {
  const auto triangle = [](double n) { return n * (n + 1) / 2; };
  const double low = std::min(past, cap);
  const double high = std::min(total, cap);
  return triangle(high) - triangle(low) + std::max(total - std::max(past, cap), 0.0) * cap;
}

// A GEMM y[m, n] = x[m, k] w[n, k]: its arithmetic and its traffic, rounded where they meet, and a
// fixed part. Smooth on purpose: tiles and waves make steps that are not where the kernel has them,
// and the process then has to undo them (docs/predict.md, "What was tried").
// Of the GEMMs of m rows; a layer has several, and what they share is computed once.
class Gemms {
 public:
  Gemms(const Setting& s, double m)
      : rows_(m),
        row_tiles_(std::ceil(m / kTile)),
        weight_bytes_(s.weight_bytes),
        ms_per_product_(2 * rounded(m, kRowTile) / (s.gemm_flops * kEfficiency)),
        ms_per_byte_(1 / (s.bytes * kTrafficEfficiency)),
        sms_(s.sms),
        ms_per_wave_(2 * kTile * kTile * s.sms / s.gemm_flops) {}

  double ms(double n, double k) const {
    constexpr double kFixed = 2e-3;
    const double traffic = (n + rows_) * k * weight_bytes_ + kBf16Bytes * rows_ * n;
    return rounded(n * k * ms_per_product_, traffic * ms_per_byte_) + kFixed;
  }

  // By 128 x 128 tiles, each a multiprocessor's: a wave that is not full takes as long as one that
  // is.
  double waves_ms(double n, double k) const {
    return std::ceil(row_tiles_ * std::ceil(n / kTile) / sms_) * k * ms_per_wave_;
  }

 private:
  static constexpr double kTile = 128;
  static constexpr double kRowTile = 64;
  static constexpr double kEfficiency = 0.6;
  static constexpr double kTrafficEfficiency = 0.8;
  static double rounded(double a, double b) { return std::sqrt(a * a + b * b); }

  double rows_, row_tiles_, weight_bytes_;
  double ms_per_product_, ms_per_byte_, sms_, ms_per_wave_;
};

std::size_t common_terms(const Setting& s, const Sizes& z, TermValues& out) {
  const double t = z.tokens();
  const double h = z.heads;
  const double down = s.q_lora + s.kv_lora + s.rope;
  const double query = h * (s.nope + s.rope);
  const double flops = 1 / s.gemm_flops;
  const Gemms gemms(s, t);
  std::size_t i = 0;
  out[i++] = 0.1;
  out[i++] = z.batch * 1e-3;
  out[i++] = t * 1e-4;
  out[i++] = t * h * 1e-6;
  out[i++] = gemms.ms(down, s.hidden);
  out[i++] = 2 * t * s.hidden * down * flops;
  out[i++] = gemms.ms(query, s.q_lora);
  out[i++] = gemms.ms(s.hidden, h * s.v);
  out[i++] = 2 * t * (s.q_lora * query + h * s.v * s.hidden) * flops;
  out[i++] = s.own_indexer ? gemms.ms(s.index_heads * s.index_dim, s.q_lora) : 0;
  out[i++] = 2 * t * h * s.kv_lora * (s.nope + s.v) / s.bf16_flops;
  out[i++] = h * s.kv_lora * (s.nope + s.v) * kBf16Bytes / s.bytes;
  out[i++] = z.batch * z.total() * s.kv_row_bytes / s.bytes;
  out[i++] = gemms.waves_ms(query, s.q_lora);
  out[i++] = gemms.waves_ms(s.hidden, h * s.v);
  // Of few heads' GEMMs and copies each doubling costs about as much as the one before (H200's
  // decode rows, 8 to 64 heads: 0.01 to 0.02 ms): more tiles run at once, but start later.
  out[i++] = std::log2(h) * 1e-2;
  return i;
}

void dense_context_terms(const Setting& s, const Sizes& z, TermValues& out, std::size_t i) {
  const double h = z.heads;
  const double visible = z.batch * pairs(z.past_tokens, z.total(), z.total());
  const double expanded = s.nope + s.rope + s.v;
  const double absorbed = 2 * s.kv_lora + s.rope;
  const double rows = z.batch * z.total();
  out[i++] = 2 * visible * h * expanded / s.bf16_flops;
  out[i++] = 2 * visible * h * absorbed / s.bf16_flops;
  out[i++] = 2 * visible * std::max(h, s.padded_heads) * absorbed / s.bf16_flops;
  out[i++] = 2 * z.tokens() * z.total() * h * expanded / s.bf16_flops;
  out[i++] = 2 * rows * h * s.kv_lora * (s.nope + s.v) / s.gemm_flops;
  out[i++] = rows * h * expanded * kBf16Bytes / s.bytes;
  out[i++] = s.own_indexer ? 2 * visible * s.index_heads * s.index_dim / s.fp8_flops : 0;
}

void sparse_context_terms(const Setting& s, const Sizes& z, TermValues& out, std::size_t i) {
  const double t = z.tokens();
  const double selected = z.batch * pairs(z.past_tokens, z.total(), s.topk);
  const double visible = s.own_indexer ? z.batch * pairs(z.past_tokens, z.total(), z.total()) : 0;
  const double rectangle = s.own_indexer ? t * z.total() : 0;
  const double absorbed = 2 * s.kv_lora + s.rope;
  const double padded = std::max(z.heads, s.padded_heads);
  const double index_flops = 2 * s.index_heads * s.index_dim / s.fp8_flops;
  out[i++] = 2 * selected * z.heads * absorbed / s.bf16_flops;
  out[i++] = 2 * selected * padded * absorbed / s.bf16_flops;
  out[i++] = 2 * t * s.topk * padded * absorbed / s.bf16_flops;
  out[i++] = t * s.topk * s.kv_row_bytes / s.l2_bytes;
  out[i++] = visible * index_flops;
  out[i++] = rectangle * index_flops;
  out[i++] = s.own_indexer ? z.batch * z.total() * kIndexRowBytes / s.bytes : 0;
  out[i++] = visible * 4 / s.l2_bytes;
  out[i++] = rectangle * 4 / s.l2_bytes;
  out[i++] = s.own_indexer ? t * 1e-3 * std::log2(z.total()) : 0;
  out[i++] = z.batch * z.total() * 1e-6;
}

void generation_terms(const Setting& s, const Sizes& z, TermValues& out, std::size_t i) {
  const double attended = std::min(z.total(), s.topk);
  const double t = z.tokens();
  const double absorbed = 2 * s.kv_lora + s.rope;
  const double padded = std::max(z.heads, s.padded_heads);
  const double own = s.own_indexer ? 1 : 0;
  const double length = z.total();
  out[i++] = t * attended * s.kv_row_bytes / s.bytes;
  out[i++] = 2 * t * attended * z.heads * absorbed / s.bf16_flops;
  out[i++] = 2 * t * attended * padded * absorbed / s.bf16_flops;
  out[i++] = 2 * t * s.topk * padded * absorbed / s.bf16_flops;
  out[i++] = own * z.batch * length * kIndexRowBytes / s.bytes;
  out[i++] = own * 2 * t * length * s.index_heads * s.index_dim / s.fp8_flops;
  out[i++] = own * t * length * 4 / s.bytes;
  out[i++] = own * length * 1e-6;
  out[i++] = own * std::log2(std::max(length, 1.0)) * 1e-3;
  out[i++] = own * std::max(length - 4096, 0.0) * 1e-6;
  // A block takes one token's `padded_heads` heads, or one row of scores, and a multiprocessor.
  const double blocks = t * std::ceil(z.heads / s.padded_heads);
  const double waves = std::ceil(blocks / s.sms);
  const double block_flops = 2 * s.padded_heads * absorbed / (s.bf16_flops / s.sms);
  out[i++] = waves * attended * block_flops;
  out[i++] = waves * s.topk * block_flops;
  out[i++] = own * std::ceil(t / s.sms) * length * 1e-6;
  // Where blocks leave half of the multiprocessors idle, each token's rows are cut among several
  // and the pieces merged by another kernel.
  out[i++] = 2 * blocks <= s.sms ? 1e-2 : 0;
  // Kernels of few tokens take larger tiles, or more of them, at each doubling.
  out[i++] = std::log2(t) * 1e-3;
  // Top-k's slope changes where its rows leave a block's registers, and its shared memory.
  out[i++] = own * std::min(length, 4096.0) * 1e-6;
  out[i++] = own * std::max(length - 32768, 0.0) * 1e-6;
}

// By what aiconfigurator calls them; fp8 "static" and int8 "sq" name how they were made.
model::WeightFormat weight_format(std::string_view dtype) {
  using model::WeightFormat;
  constexpr std::array<std::pair<std::string_view, WeightFormat>, 9> kFormats = {
      {{"fp8_block", WeightFormat::kFp8Block},
       {"fp8", WeightFormat::kFp8},
       {"fp8_static", WeightFormat::kFp8},
       {"sq", WeightFormat::kInt8},
       {"int8", WeightFormat::kInt8},
       {"nvfp4", WeightFormat::kNvfp4},
       // Weights alone: they multiply in bf16.
       {"int4_wo", WeightFormat::kInt4},
       {"nvfp4_wo", WeightFormat::kMxfp4},
       {"bfloat16", WeightFormat::kBf16}}};
  const auto* const found = std::find_if(kFormats.begin(), kFormats.end(),
                                         [&](const auto& f) { return f.first == dtype; });
  return found == kFormats.end() ? WeightFormat::kBf16 : found->second;
}

}  // namespace

std::string_view name(Regime regime) {
  return regime == Regime::kDense ? "dense" : "sparse";
}

Result<Setting> make_setting(const perfdb::SystemFile& system, const LayerKind& kind, Phase phase,
                             Regime regime, bool own_indexer) {
  DSAPERF_TRY_ASSIGN(const auto gemm, compatible::dtype_traits(kind.gemm_dtype));
  Setting setting;
  const auto dims = kind.sizes.value_or(known_sizes(kind.architecture));
  setting.hidden = dims.hidden;
  setting.q_lora = dims.q_lora;
  setting.kv_lora = dims.kv_lora;
  setting.nope = dims.nope;
  setting.rope = dims.rope;
  setting.v = dims.v;
  setting.topk = dims.topk;
  setting.index_heads = dims.index_heads;
  setting.index_dim = dims.index_dim;
  setting.own_indexer = own_indexer;
  setting.weights = weight_format(kind.gemm_dtype);
  setting.weight_bytes = gemm.bytes;
  setting.fp8_cache = kind.kv_dtype == "fp8";
  const double latent = dims.kv_lora + dims.rope;
  // fp8 rows keep the rope part in bf16 and a scale for 128 values.
  setting.kv_row_bytes = setting.fp8_cache
                             ? dims.kv_lora + dims.kv_lora / 128 * 4 + dims.rope * kBf16Bytes
                             : latent * kBf16Bytes;
  DSAPERF_TRY_ASSIGN(const double gemm_rate, system.rate(gemm.rate));
  DSAPERF_TRY_ASSIGN(const double bf16_rate, system.rate("bfloat16"));
  setting.gemm_flops = gemm_rate * kPerMilli;
  setting.bf16_flops = bf16_rate * kPerMilli;
  // Cards without fp8 score in bf16.
  setting.fp8_flops = system.rate("fp8").value_or(bf16_rate) * kPerMilli;
  setting.bytes = system.mem_bw * kPerMilli;
  setting.padded_heads = system.sm_version >= 100 ? 128 : 64;
  setting.sms = system.sm_version >= 100 ? 148 : 132;
  // 32 bytes a cycle at 1.3 GHz: 5.5 TB/s on H100 and H200, where 5.5 to 5.7 were measured.
  constexpr double kL2BytesPerSm = 4.2e7;
  setting.l2_bytes = kL2BytesPerSm * setting.sms;
  setting.phase = phase;
  setting.regime = regime;
  return setting;
}

std::span<const Term> terms(Phase phase, Regime regime) {
  if (phase == Phase::kGeneration) return kGenerationTerms;
  if (regime == Regime::kDense) return kDenseContextTerms;
  return kSparseContextTerms;
}

TermValues term_values(const Setting& setting, const Sizes& sizes) {
  TermValues out{};
  const std::size_t next = common_terms(setting, sizes, out);
  if (setting.phase == Phase::kGeneration) {
    generation_terms(setting, sizes, out, next);
  } else if (setting.regime == Regime::kDense) {
    dense_context_terms(setting, sizes, out, next);
  } else {
    sparse_context_terms(setting, sizes, out, next);
  }
  return out;
}

}  // namespace dsaperf::predict::stages
