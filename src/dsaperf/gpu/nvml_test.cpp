#include "dsaperf/gpu/nvml.hpp"

#include "dsaperf/gpu/device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::gpu {
namespace {

TEST(GpuStateTest, NamesOnlyReasonsThatSlowAMeasurement) {
  GpuState state;
  state.throttle_bits = 0x1 | 0x4 | 0x20;  // idle, power cap, thermal
  EXPECT_THAT(state.throttle_reasons(),
              testing::ElementsAre("software power cap", "software thermal"));
}

TEST(DeviceTest, MissingDeviceIsNotFound) {
  const auto device = query_device(1 << 20);
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace dsaperf::gpu
