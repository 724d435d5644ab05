#include "dsaperf/collect/devices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::collect {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DevicesTest, AllIsEveryVisibleGpu) {
  EXPECT_THAT(*devices_to_use("all", "", 3), ElementsAre("0", "1", "2"));
  EXPECT_THAT(*devices_to_use("all", "4,GPU-5f3a", 8), ElementsAre("4", "GPU-5f3a"));
}

TEST(DevicesTest, NumbersCountAmongTheVisibleOnes) {
  EXPECT_THAT(*devices_to_use("1,0", "4,5", 8), ElementsAre("5", "4"));
  EXPECT_THAT(*devices_to_use("2", "", 4), ElementsAre("2"));
}

TEST(DevicesTest, RefusesWhatIsNoGpuOrStandsTwice) {
  EXPECT_THAT(devices_to_use("2", "4,5", 8).error().message(), HasSubstr("2 visible GPUs"));
  EXPECT_THAT(devices_to_use("0,0", "", 2).error().message(), HasSubstr("twice"));
  EXPECT_THAT(devices_to_use("0,x", "", 2).error().message(), HasSubstr("'x'"));
  EXPECT_THAT(devices_to_use("99999999999999999999", "", 2).error().message(), HasSubstr("99999"));
  EXPECT_THAT(devices_to_use("all", "", 0).error().message(), HasSubstr("no GPU"));
  EXPECT_FALSE(devices_to_use("", "", 2));
}

TEST(DevicesTest, WithoutAGpuSaysFirstWhatIsWrongWithTheNumbers) {
  EXPECT_EQ(devices_to_use("0,x", "", 0).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(devices_to_use("0,0", "", 0).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(devices_to_use("", "", 0).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(devices_to_use("0,7", "", 0).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace dsaperf::collect
