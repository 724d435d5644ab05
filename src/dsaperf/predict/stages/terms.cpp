#include "dsaperf/predict/stages/terms.hpp"

#include <algorithm>
#include <type_traits>

namespace dsaperf::predict::stages {
namespace {

using model::Stage;
using perfdb::Phase;

constexpr double kBf16Bytes = 2;
constexpr double kIndexRowBytes = 132;
constexpr double kScoreBytes = 4;

// Terms that every phase and regime has, in this order; Factors has what they are.
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

using enum Quantity;

// What Quantities::each shows.
template <typename Value>
double evaluated(const Value& value) {
  if constexpr (std::is_arithmetic_v<Value>)
    return value;
  else
    return value();
}

// The factors of the terms of a setting, in the order of terms().
class Factors {
 public:
  explicit Factors(const Setting& s) : s_(s), own_(s.own_indexer ? 1 : 0) {
    common();
    if (s.phase == Phase::kGeneration)
      generation();
    else if (s.regime == Regime::kDense)
      dense_context();
    else
      sparse_context();
  }
  const std::array<SettingTerms::Factor, kMaxTerms>& all() const { return all_; }

 private:
  void add(Quantity of, double factor) { all_[count_++] = {.of = of, .factor = factor}; }

  void common() {
    const double query = s_.nope + s_.rope;
    add(kOne, 0.1);
    add(kBatch, 1e-3);
    add(kTokens, 1e-4);
    add(kTokenHeads, 1e-6);
    add(kQkvAGemm, 1);
    add(kTokens, 2 * s_.hidden * (s_.q_lora + s_.kv_lora + s_.rope) / s_.gemm_flops);
    add(kQBGemm, 1);
    add(kOGemm, 1);
    add(kTokenHeads, 2 * (s_.q_lora * query + s_.v * s_.hidden) / s_.gemm_flops);
    add(kIndexerGemm, own_);
    add(kTokenHeads, 2 * s_.kv_lora * (s_.nope + s_.v) / s_.bf16_flops);
    add(kHeads, s_.kv_lora * (s_.nope + s_.v) * kBf16Bytes / s_.bytes);
    add(kLengths, s_.kv_row_bytes / s_.bytes);
    add(kQBWaves, 1);
    add(kOWaves, 1);
    // Of few heads' GEMMs and copies each doubling costs about as much as the one before (H200's
    // decode rows, 8 to 64 heads: 0.01 to 0.02 ms): more tiles run at once, but start later.
    add(kLogHeads, 1e-2);
  }

  void dense_context() {
    const double expanded = s_.nope + s_.rope + s_.v;
    add(kVisibleHeads, 2 * expanded / s_.bf16_flops);
    add(kVisibleHeads, 2 * absorbed() / s_.bf16_flops);
    add(kVisiblePadded, 2 * absorbed() / s_.bf16_flops);
    add(kRectangleHeads, 2 * expanded / s_.bf16_flops);
    add(kLengthsHeads, 2 * s_.kv_lora * (s_.nope + s_.v) / s_.gemm_flops);
    add(kLengthsHeads, expanded * kBf16Bytes / s_.bytes);
    add(kVisible, own_ * index_ms());
  }

  void sparse_context() {
    add(kSelectedHeads, 2 * absorbed() / s_.bf16_flops);
    add(kSelectedPadded, 2 * absorbed() / s_.bf16_flops);
    add(kTokensPadded, 2 * s_.topk * absorbed() / s_.bf16_flops);
    add(kTokens, s_.topk * s_.kv_row_bytes / s_.l2_bytes);
    add(kVisible, own_ * index_ms());
    add(kRectangle, own_ * index_ms());
    add(kLengths, own_ * kIndexRowBytes / s_.bytes);
    add(kVisible, own_ * kScoreBytes / s_.l2_bytes);
    add(kRectangle, own_ * kScoreBytes / s_.l2_bytes);
    add(kTokensLogLength, own_ * 1e-3);
    add(kLengths, 1e-6);
  }

  void generation() {
    add(kAttended, s_.kv_row_bytes / s_.bytes);
    add(kAttendedHeads, 2 * absorbed() / s_.bf16_flops);
    add(kAttendedPadded, 2 * absorbed() / s_.bf16_flops);
    add(kTokensPadded, 2 * s_.topk * absorbed() / s_.bf16_flops);
    add(kLengths, own_ * kIndexRowBytes / s_.bytes);
    add(kRectangle, own_ * index_ms());
    add(kRectangle, own_ * kScoreBytes / s_.bytes);
    add(kLength, own_ * 1e-6);
    add(kLogLength, own_ * 1e-3);
    add(kLengthBeyond4096, own_ * 1e-6);
    const double block_ms = 2 * s_.padded_heads * absorbed() / (s_.bf16_flops / s_.sms);
    add(kWavesAttended, block_ms);
    add(kWaves, s_.topk * block_ms);
    add(kScoreWavesLength, own_ * 1e-6);
    add(kMerge, 1e-2);
    // Kernels of few tokens take larger tiles, or more of them, at each doubling.
    add(kLogTokens, 1e-3);
    // Top-k's slope changes where its rows leave a block's registers, and its shared memory.
    add(kLengthTo4096, own_ * 1e-6);
    add(kLengthBeyond32768, own_ * 1e-6);
  }

  double absorbed() const { return 2 * s_.kv_lora + s_.rope; }
  double index_ms() const { return 2 * s_.index_heads * s_.index_dim / s_.fp8_flops; }

  const Setting& s_;
  double own_;
  std::array<SettingTerms::Factor, kMaxTerms> all_{};
  std::size_t count_ = 0;
};

}  // namespace

std::span<const Term> terms(Phase phase, Regime regime) {
  if (phase == Phase::kGeneration) return kGenerationTerms;
  if (regime == Regime::kDense) return kDenseContextTerms;
  return kSparseContextTerms;
}

SettingTerms::SettingTerms(const Setting& setting)
    : quantities_(setting),
      factors_(Factors(setting).all()),
      count_(terms(setting.phase, setting.regime).size()) {
}

TermValues SettingTerms::values(const Sizes& sizes) const {
  std::array<double, kQuantities> quantities{};
  quantities_.each(sizes, [&](Quantity of, const auto& value) {
    quantities[static_cast<std::size_t>(of)] = evaluated(value);
  });
  TermValues out{};
  for (std::size_t i = 0; i < count_; ++i)
    out[i] = factors_[i].factor * quantities[static_cast<std::size_t>(factors_[i].of)];
  return out;
}

TermSum::TermSum(const SettingTerms& terms, std::span<const double> weights)
    : quantities_(terms.quantities_) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto& [of, factor] = terms.factors_[i];
    weight_[static_cast<std::size_t>(of)] += weights[i] * factor;
  }
}

double TermSum::ms(const Sizes& sizes) const {
  double sum = 0;
  quantities_.each(sizes, [&](Quantity of, const auto& value) {
    const double weight = weight_[static_cast<std::size_t>(of)];
    if (std::is_arithmetic_v<std::remove_cvref_t<decltype(value)>> || weight != 0)
      sum += weight * evaluated(value);
  });
  return sum;
}

}  // namespace dsaperf::predict::stages
