#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// Number formats on the host, bit for bit what the device's conversions give: round to nearest,
// ties to even. Conversions take double and round once; every f32 is a double, so they serve both.
namespace dsaperf::kernels {

// bf16 as its bits. NaN becomes 0x7fff (as the device's cvt.rn.bf16 does), overflow infinity.
inline std::uint16_t bf16_from(double value) {
  if (std::isnan(value)) return 0x7fff;
  float rounded = static_cast<float>(value);
  auto bits = std::bit_cast<std::uint32_t>(rounded);
  // The step to f32 may have landed on a tie of bf16 that the double was not: undo it.
  if ((bits & 0xffff) == 0x8000 && static_cast<double>(rounded) != value)
    bits += std::abs(value) > std::abs(static_cast<double>(rounded)) ? 1 : -1;
  const std::uint32_t bias = 0x7fff + ((bits >> 16) & 1);
  if (std::isinf(rounded)) return static_cast<std::uint16_t>(bits >> 16);
  return static_cast<std::uint16_t>((bits + bias) >> 16);
}

// The same from f32, quicker: for paths that have no double to round from.
inline std::uint16_t bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline constexpr double kE4m3Max = 448;

// e4m3 (fn: no infinity, 0x7f and 0xff are NaN) as its bits. Beyond the range, infinity included,
// it saturates to +-448, as cvt.rn.satfinite does. NaN becomes 0x7f.
inline std::uint8_t e4m3_from(double value) {
  if (std::isnan(value)) return 0x7f;
  const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const double magnitude = std::abs(value);
  if (magnitude >= kE4m3Max) return sign | 0x7e;
  // magnitude in [2^(e-1), 2^e), from its bits; subnormals share 2^-6's spacing. Caches of millions
  // of rows are made of this, so there is no call in it.
  const int exponent =
      std::max(static_cast<int>(std::bit_cast<std::uint64_t>(magnitude) >> 52) - 1022, -5);
  const double to_steps = std::bit_cast<double>(std::uint64_t(1023 + 4 - exponent) << 52);
  // In steps of 2^(e-4), 0 ... 16; the sum has no room for a fraction, so it is rounded to even.
  constexpr double kNoFraction = 0x1.8p52;
  const int steps = static_cast<int>(magnitude * to_steps + kNoFraction - kNoFraction);
  // Codes count steps: 8 a binade, the first binade starts at code 8. A carry to 16 steps runs on
  // into the next binade by itself.
  const int code = steps + 8 * (exponent + 5);
  return static_cast<std::uint8_t>(sign | (code > 0x7e ? 0x7e : code));
}

inline float e4m3_to_float(std::uint8_t bits) {
  const int code = bits & 0x7f;
  if (code == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = code >> 3;
  const int mantissa = code & 7;
  const float magnitude =
      exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9F
                    : std::bit_cast<float>((static_cast<std::uint32_t>(exponent) + 120) << 23 |
                                           static_cast<std::uint32_t>(mantissa) << 20);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

// How the scale of a group of e4m3 values is chosen.
enum class ScaleFormat {
  kUe8m0,  // rounded up to a power of two; nothing is lost in the scale itself
  kF32,    // largest magnitude / 448
};

// DeepSeek's floor under the largest magnitude, so that a group of zeros has a scale.
inline constexpr double kAbsmaxFloor = 1e-4;

// Scale of a group with this largest magnitude: value = e4m3 * scale. For kUe8m0 the smallest power
// of two with absmax <= 448 * scale, found exactly, without a logarithm. Infinity counts as the
// largest f32.
inline float e4m3_scale(double absmax, ScaleFormat format) {
  absmax = std::fmin(std::fmax(absmax, kAbsmaxFloor), std::numeric_limits<float>::max());
  if (format == ScaleFormat::kF32) return static_cast<float>(absmax / kE4m3Max);
  int exponent = 0;
  const double mantissa = std::frexp(absmax, &exponent);  // 448 = 0.875 * 2^9
  return std::ldexp(1.0F, exponent - (mantissa <= 0.875 ? 9 : 8));
}

}  // namespace dsaperf::kernels
