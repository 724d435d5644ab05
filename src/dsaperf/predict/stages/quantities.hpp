#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/predict/stages/setting.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace dsaperf::predict::stages {

// What the sizes of a pass come to, in products that terms are proportional to: a term is one of
// them times a factor of its setting. Tokens are new ones of the whole pass, heads the rank's,
// padded heads what the sparse kernels compute at least, lengths a request's visible tokens.
enum class Quantity : std::uint8_t {
  kOne,
  kBatch,
  kTokens,
  kHeads,
  kTokenHeads,
  kLengths,   // of all requests
  kLogHeads,  // base 2, as all logarithms here
  kQkvAGemm,  // milliseconds of a GEMM, rounded where arithmetic and traffic meet
  kQBGemm,
  kOGemm,
  kIndexerGemm,
  kQBWaves,  // milliseconds of its tiles, in whole waves
  kOWaves,
  kVisible,  // (token, visible token) pairs
  kVisibleHeads,
  kVisiblePadded,
  kRectangle,  // tokens * length
  kRectangleHeads,
  kLengthsHeads,
  kSelectedHeads,  // pairs of a token and a selected one, for each head
  kSelectedPadded,
  kTokensPadded,
  kTokensLogLength,
  kAttended,  // pairs of decode, which sees all or topk of a length
  kAttendedHeads,
  kAttendedPadded,
  kLength,
  kLogLength,
  kLengthTo4096,
  kLengthBeyond4096,
  kLengthBeyond32768,
  kWaves,  // of attention's blocks
  kWavesAttended,
  kScoreWavesLength,
  kMerge,  // 1 where pieces of a token's rows are merged
  kLogTokens,
};
inline constexpr std::size_t kQuantities = static_cast<std::size_t>(Quantity::kLogTokens) + 1;

// The quantities of one setting.
class Quantities {
 public:
  explicit Quantities(const Setting& s)
      : phase_(s.phase),
        regime_(s.regime),
        topk_(s.topk),
        padded_heads_(s.padded_heads),
        sms_(s.sms),
        hidden_(s.hidden),
        q_lora_(s.q_lora),
        down_(s.q_lora + s.kv_lora + s.rope),
        query_(s.nope + s.rope),
        v_(s.v),
        index_columns_(s.index_heads * s.index_dim),
        weight_bytes_(s.weight_bytes),
        ms_per_product_(2 / (s.gemm_flops * kEfficiency)),
        ms_per_byte_(1 / (s.bytes * kTrafficEfficiency)),
        ms_per_wave_(2 * kTile * kTile * s.sms / s.gemm_flops) {}

  // visit(quantity, value): `value` is a number where it is cheap, else a function that makes it.
  template <typename Visit>
  void each(const Sizes& z, Visit&& visit) const {
    common(z, visit);
    if (phase_ == perfdb::Phase::kGeneration)
      generation(z, visit);
    else if (regime_ == Regime::kDense)
      dense_context(z, visit);
    else
      sparse_context(z, visit);
  }

 private:
  using Q = Quantity;
  static constexpr double kTile = 128;  // rows and columns of a GEMM's tiles
  static constexpr double kRowTile = 64;
  static constexpr double kEfficiency = 0.6;
  static constexpr double kTrafficEfficiency = 0.8;

  // Without a call.
  static double ceiling(double x) {
    constexpr double kAllWhole = 4503599627370496;  // 2^52
    if (x >= kAllWhole) return x;
    const auto whole = static_cast<double>(static_cast<std::int64_t>(x));
    return whole < x ? whole + 1 : whole;
  }
  // Pairs of one request, each token seeing at most `cap`.
  static double pairs(double past, double total, double cap) {
    const auto triangle = [](double n) { return n * (n + 1) / 2; };
    return triangle(std::min(total, cap)) - triangle(std::min(past, cap)) +
           std::max(total - std::max(past, cap), 0.0) * cap;
  }

  // A GEMM y[m, n] = x[m, k] w[n, k]: its arithmetic, which kRowTile rows cost at least, and its
  // traffic, each rounded into the other where they meet (a root of squares), and a fixed part.
  // Smooth on purpose: tiles and waves make steps that are not where the kernel has them, and the
  // process then has to undo them (docs/predict.md, "What was tried").
  double gemm_ms(double m, double n, double k) const {
    constexpr double kFixed = 2e-3;
    constexpr double kBf16Bytes = 2;
    const double traffic = (n + m) * k * weight_bytes_ + kBf16Bytes * m * n;
    const double of_row = n * k * ms_per_product_;
    const double memory = traffic * ms_per_byte_;
    return std::sqrt(of_row * of_row * (m * m + kRowTile * kRowTile) + memory * memory) + kFixed;
  }
  // By tiles, each a multiprocessor's: a wave that is not full takes as long as one that is.
  double waves_ms(double m, double n, double k) const {
    return ceiling(ceiling(m / kTile) * ceiling(n / kTile) / sms_) * k * ms_per_wave_;
  }

  template <typename Visit>
  void common(const Sizes& z, Visit&& visit) const {
    const double t = z.tokens();
    const double h = z.heads;
    visit(Q::kOne, 1.0);
    visit(Q::kBatch, z.batch);
    visit(Q::kTokens, t);
    visit(Q::kHeads, h);
    visit(Q::kTokenHeads, t * h);
    visit(Q::kLengths, z.batch * z.total());
    visit(Q::kLogHeads, [&] { return std::log2(h); });
    visit(Q::kQkvAGemm, [&] { return gemm_ms(t, down_, hidden_); });
    visit(Q::kQBGemm, [&] { return gemm_ms(t, h * query_, q_lora_); });
    visit(Q::kOGemm, [&] { return gemm_ms(t, hidden_, h * v_); });
    visit(Q::kIndexerGemm, [&] { return gemm_ms(t, index_columns_, q_lora_); });
    visit(Q::kQBWaves, [&] { return waves_ms(t, h * query_, q_lora_); });
    visit(Q::kOWaves, [&] { return waves_ms(t, hidden_, h * v_); });
  }

  template <typename Visit>
  void dense_context(const Sizes& z, Visit&& visit) const {
    const double h = z.heads;
    const double visible = z.batch * pairs(z.past_tokens, z.total(), z.total());
    visit(Q::kVisible, visible);
    visit(Q::kVisibleHeads, visible * h);
    visit(Q::kVisiblePadded, visible * std::max(h, padded_heads_));
    visit(Q::kRectangleHeads, z.tokens() * z.total() * h);
    visit(Q::kLengthsHeads, z.batch * z.total() * h);
  }

  template <typename Visit>
  void sparse_context(const Sizes& z, Visit&& visit) const {
    const double t = z.tokens();
    const double padded = std::max(z.heads, padded_heads_);
    const double selected = z.batch * pairs(z.past_tokens, z.total(), topk_);
    visit(Q::kVisible, [&] { return z.batch * pairs(z.past_tokens, z.total(), z.total()); });
    visit(Q::kRectangle, t * z.total());
    visit(Q::kSelectedHeads, selected * z.heads);
    visit(Q::kSelectedPadded, selected * padded);
    visit(Q::kTokensPadded, t * padded);
    visit(Q::kTokensLogLength, [&] { return t * std::log2(z.total()); });
  }

  template <typename Visit>
  void generation(const Sizes& z, Visit&& visit) const {
    const double t = z.tokens();
    const double length = z.total();
    const double seen = std::min(length, topk_);
    const double padded = std::max(z.heads, padded_heads_);
    visit(Q::kTokensPadded, t * padded);
    visit(Q::kRectangle, t * length);
    visit(Q::kAttended, t * seen);
    visit(Q::kAttendedHeads, t * seen * z.heads);
    visit(Q::kAttendedPadded, t * seen * padded);
    visit(Q::kLength, length);
    visit(Q::kLogLength, [&] { return std::log2(std::max(length, 1.0)); });
    visit(Q::kLengthTo4096, std::min(length, 4096.0));
    visit(Q::kLengthBeyond4096, std::max(length - 4096, 0.0));
    visit(Q::kLengthBeyond32768, std::max(length - 32768, 0.0));
    // A block takes one token's `padded_heads` heads, or one row of scores, and a multiprocessor.
    const double blocks = t * ceiling(z.heads / padded_heads_);
    const double waves = ceiling(blocks / sms_);
    visit(Q::kWaves, waves);
    visit(Q::kWavesAttended, waves * seen);
    visit(Q::kScoreWavesLength, [&] { return ceiling(t / sms_) * length; });
    // Where blocks leave half of the multiprocessors idle, each token's rows are cut among several
    // and the pieces merged by another kernel.
    visit(Q::kMerge, 2 * blocks <= sms_ ? 1.0 : 0.0);
    visit(Q::kLogTokens, [&] { return std::log2(t); });
  }

  perfdb::Phase phase_;
  Regime regime_;
  double topk_, padded_heads_, sms_;
  double hidden_, q_lora_, down_, query_, v_, index_columns_;
  double weight_bytes_, ms_per_product_, ms_per_byte_, ms_per_wave_;
};

}  // namespace dsaperf::predict::stages
