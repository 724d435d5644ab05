#pragma once

#include "dsaperf/model/stage.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/predict/stages/quantities.hpp"
#include "dsaperf/predict/stages/setting.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace dsaperf::predict::stages {

// One addend of a layer's time, in milliseconds at the card's nominal rate; a fitted weight says
// how many times longer it takes.
struct Term {
  std::string_view name;
  std::optional<model::Stage> stage;  // empty: launches and the host
  // What the weight is drawn to, weakly, where the rows cannot tell terms apart: the inverse of a
  // usual efficiency of that stage's kernels (the measured rates of docs/predict.md).
  double usual = 0;
  // Of a term that does not grow with the tokens: where a host floor hides it, rows say nothing of
  // it, and the weight is drawn here.
  std::optional<double> hidden = {};
  // Of a term that grows with the sum of lengths, as the host's work does (contexts_ms).
  bool by_contexts = false;
};

inline constexpr std::size_t kMaxTerms = 33;
using TermValues = std::array<double, kMaxTerms>;

// The terms of a phase and regime, in the order of their values.
std::span<const Term> terms(perfdb::Phase phase, Regime regime);

// The terms of one setting, each a quantity of the pass times a factor.
class SettingTerms {
 public:
  explicit SettingTerms(const Setting& setting);

  TermValues values(const Sizes& sizes) const;

  struct Factor {
    Quantity of = Quantity::kOne;
    double factor = 0;
  };

 private:
  friend class TermSum;
  Quantities quantities_;
  std::array<Factor, kMaxTerms> factors_;
  std::size_t count_;
};

// For a single pass.
inline TermValues term_values(const Setting& setting, const Sizes& sizes) {
  return SettingTerms(setting).values(sizes);
}

// The sum of weight * term, terms of the same quantity added up beforehand: equal to the sum over
// the values but for rounding, in a fifth of the time.
class TermSum {
 public:
  TermSum(const SettingTerms& terms, std::span<const double> weights);

  double ms(const Sizes& sizes) const;

 private:
  Quantities quantities_;
  std::array<double, kQuantities> weight_{};
};

}  // namespace dsaperf::predict::stages
