#pragma once

#include <cmath>
#include <cstdint>

namespace dsaperf::predict::stages {

// Always inlined: a clone of a loop for other processors (vector_clones.hpp) calls nothing else,
// not even std::bit_cast.

// e^-x for x >= 0 to 1e-12, without a branch or a call, so that loops over it become vectors.
// Beyond x = 700 it stays at e^-700.
[[gnu::always_inline]] inline double exp_minus(double x) {
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2 = 0.6931471805599453;
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  x = x < 700 ? x : 700;
  const double shifted = kRound - x * kLog2E;
  const double whole = shifted - kRound;
  const double r = -x - whole * kLn2;  // -0.35 .. 0.35
  double p = 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  // The integer sits in the low bits of `shifted`; moved to the exponent's place it is 2^whole.
  const auto bits = __builtin_bit_cast(std::uint64_t, shifted) << 52U;
  return __builtin_bit_cast(double, __builtin_bit_cast(std::uint64_t, p) + bits);
}

// Matern 5/2 at a squared distance in lengths.
[[gnu::always_inline]] inline double matern52(double squared) {
  const double a = std::sqrt(5 * squared);
  return (1 + a + a * a / 3) * exp_minus(a);
}

}  // namespace dsaperf::predict::stages
