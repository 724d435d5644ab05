#include "dsaperf/cost/device_name.hpp"

#include <gtest/gtest.h>

namespace dsaperf::cost {
namespace {

TEST(DeviceNameTest, ADriversNameIsThatOfOneCard) {
  const auto called = [](const char* system, std::string_view device) {
    return is_called(find_system(DSAPERF_SOURCE_DIR "/data", system).value(), device);
  };
  EXPECT_TRUE(called("h100_sxm", "NVIDIA H100 80GB HBM3"));
  EXPECT_TRUE(called("h200_sxm", "NVIDIA H200"));
  EXPECT_TRUE(called("h20_3e", "NVIDIA H20-3e"));
  EXPECT_FALSE(called("h20", "NVIDIA H200"));
  EXPECT_FALSE(called("h200_sxm", "NVIDIA H20"));
  EXPECT_FALSE(called("h200_sxm", "Intel(R) Xeon(R) Processor, 2 threads"));
}

TEST(DeviceNameTest, OfTwoKindsOfACardTheDriversNameFindsItsOwn) {
  const auto name_of = [](std::string_view device) {
    return card_called(DSAPERF_SOURCE_DIR "/data", device).value().value().name;
  };
  EXPECT_EQ(name_of("NVIDIA H100 80GB HBM3"), "h100_sxm");
  EXPECT_EQ(name_of("NVIDIA H100 PCIe"), "h100_pcie");
  EXPECT_EQ(name_of("NVIDIA H200"), "h200_sxm");
  EXPECT_FALSE(card_called(DSAPERF_SOURCE_DIR "/data", "AMD EPYC, 2 threads")->has_value());
}

}  // namespace
}  // namespace dsaperf::cost
