#include "dsaperf/kernels/formats.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace dsaperf::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(FormatsTest, EveryE4m3ValueSurvivesARoundTrip) {
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7f) == 0x7f) continue;
    const auto code = static_cast<std::uint8_t>(bits);
    EXPECT_EQ(e4m3_from(e4m3_to_float(code)), code) << bits;
  }
}

TEST(FormatsTest, E4m3RoundsMidpointsToEvenAndTheRestToNearest) {
  for (int code = 0; code < 0x7e; ++code) {
    const double low = e4m3_to_float(static_cast<std::uint8_t>(code));
    const double high = e4m3_to_float(static_cast<std::uint8_t>(code + 1));
    const double middle = (low + high) / 2;
    EXPECT_EQ(e4m3_from(middle), code % 2 == 0 ? code : code + 1) << middle;
    EXPECT_EQ(e4m3_from(std::nextafter(middle, 0)), code);
    EXPECT_EQ(e4m3_from(std::nextafter(middle, 1e9)), code + 1);
    EXPECT_EQ(e4m3_from(-std::nextafter(middle, 0)), 0x80 | code);
  }
}

TEST(FormatsTest, E4m3KnowsItsLandmarks) {
  EXPECT_EQ(e4m3_to_float(0x7e), 448);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9F);
  EXPECT_EQ(e4m3_to_float(0x08), 0x1p-6F);
  EXPECT_EQ(e4m3_to_float(0x38), 1);
  EXPECT_TRUE(std::isnan(e4m3_to_float(0x7f)));
  EXPECT_TRUE(std::isnan(e4m3_to_float(0xff)));
}

TEST(FormatsTest, E4m3SaturatesAndKeepsNan) {
  EXPECT_EQ(e4m3_from(1e30), 0x7e);
  EXPECT_EQ(e4m3_from(-kInfinity), 0xfe);
  EXPECT_EQ(e4m3_from(465), 0x7e);
  EXPECT_EQ(e4m3_from(kNaN), 0x7f);
  EXPECT_EQ(e4m3_from(-0.0), 0x80);
  EXPECT_EQ(e4m3_from(0x1p-11), 0);
}

TEST(FormatsTest, EveryFiniteBf16ValueSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0) continue;  // NaN
    const auto code = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(bf16_from(bf16_to_float(code)), code) << bits;
  }
}

TEST(FormatsTest, Bf16RoundsOnceFromDouble) {
  EXPECT_EQ(bf16_from(1 + 0x1p-8), 0x3f80) << "a tie goes to even";
  EXPECT_EQ(bf16_from(1 + 3 * 0x1p-8), 0x3f82) << "a tie goes to even";
  // In f32 these two would become ties; rounded once they are above and below.
  EXPECT_EQ(bf16_from(1 + 0x1p-8 + 0x1p-40), 0x3f81);
  EXPECT_EQ(bf16_from(1 + 3 * 0x1p-8 - 0x1p-40), 0x3f81);
  EXPECT_EQ(bf16_from(-(1 + 0x1p-8 + 0x1p-40)), 0xbf81);
}

TEST(FormatsTest, Bf16FromFloatEqualsBf16FromDouble) {
  for (std::uint64_t i = 0; i < 1 << 20; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(i * 4099));
    ASSERT_EQ(bf16_from_float(value), bf16_from(double{value})) << value;
  }
}

TEST(FormatsTest, Bf16KeepsInfinityAndNan) {
  EXPECT_EQ(bf16_from(kInfinity), 0x7f80);
  EXPECT_EQ(bf16_from(-1e300), 0xff80);
  EXPECT_EQ(bf16_from(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(bf16_from(kNaN), 0x7fff);
}

TEST(FormatsTest, Ue8m0ScaleIsTheSmallestPowerOfTwoThatFits) {
  for (const double absmax : {1e-4, 0.3, 1.0, 447.9, 448.0, 448.00001, 1e10, 3e38}) {
    const double scale = e4m3_scale(absmax, ScaleFormat::kUe8m0);
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5) << absmax;
    EXPECT_LE(absmax, kE4m3Max * scale);
    EXPECT_GT(absmax, kE4m3Max * scale / 2);
  }
  EXPECT_EQ(e4m3_scale(448, ScaleFormat::kUe8m0), 1);
  EXPECT_EQ(e4m3_scale(896, ScaleFormat::kUe8m0), 2);
}

TEST(FormatsTest, ScaleOfZerosAndOfNonFiniteGroupsIsFinite) {
  for (const ScaleFormat format : {ScaleFormat::kUe8m0, ScaleFormat::kF32}) {
    EXPECT_GT(e4m3_scale(0, format), 0);
    EXPECT_TRUE(std::isfinite(e4m3_scale(kInfinity, format)));
    EXPECT_GT(e4m3_scale(kNaN, format), 0);
  }
}

}  // namespace
}  // namespace dsaperf::kernels
