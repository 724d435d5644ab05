#pragma once

#include <compare>
#include <cstdint>

namespace dsaperf {

// Quantities that cross module boundaries carry their unit in the type; inside a function, in the
// name. Only what makes sense is defined: times add, a time scales, two times give a ratio.

struct Micros {
  double value = 0;

  constexpr auto operator<=>(const Micros&) const = default;
  constexpr Micros& operator+=(Micros other) {
    value += other.value;
    return *this;
  }
  friend constexpr Micros operator+(Micros a, Micros b) { return {a.value + b.value}; }
  friend constexpr Micros operator-(Micros a, Micros b) { return {a.value - b.value}; }
  friend constexpr Micros operator*(Micros a, double factor) { return {a.value * factor}; }
  friend constexpr Micros operator*(double factor, Micros a) { return a * factor; }
  friend constexpr double operator/(Micros a, Micros b) { return a.value / b.value; }
  constexpr double millis() const { return value * 1e-3; }
  static constexpr Micros from_millis(double ms) { return {ms * 1e3}; }
};

struct Bytes {
  std::int64_t value = 0;

  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes other) {
    value += other.value;
    return *this;
  }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.value + b.value}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.value - b.value}; }
  friend constexpr Bytes operator*(Bytes a, std::int64_t n) { return {a.value * n}; }
  constexpr double gib() const { return static_cast<double>(value) / (1 << 30); }
};

// Floating-point operations; a multiply-add counts as two. A double: a long prefill passes 2^53
// only at sizes where the last digit no longer matters.
struct Flops {
  double value = 0;

  constexpr auto operator<=>(const Flops&) const = default;
  constexpr Flops& operator+=(Flops other) {
    value += other.value;
    return *this;
  }
  friend constexpr Flops operator+(Flops a, Flops b) { return {a.value + b.value}; }
  friend constexpr Flops operator*(Flops a, double factor) { return {a.value * factor}; }
};

}  // namespace dsaperf
