#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/nvml.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/gpu/timing.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace dsaperf::gpu {
namespace {

TEST(DeviceGpuTest, SaysWhatTheCardIs) {
  DSAPERF_REQUIRE_GPU();
  const auto device = current_device();
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_GT(device->sm_count, 0);
  EXPECT_GT(device->l2.value, 1 << 20);
  EXPECT_FALSE(device->pci_bus_id.empty());
}

TEST(DeviceArrayGpuTest, ReturnsWhatWasCopied) {
  DSAPERF_REQUIRE_GPU();
  const std::vector<int> given{3, 1, 4, 1, 5};
  const auto array = DeviceArray<int>::copy_of(given);
  ASSERT_TRUE(array) << array.error().message();
  EXPECT_EQ(array->to_host().value(), given);
}

// Our streams do not wait for the default one, on which arrays are filled.
TEST(DeviceArrayGpuTest, IsFilledBeforeAnyStreamWritesToIt) {
  DSAPERF_REQUIRE_GPU();
  const auto stream = Stream::create().value();
  constexpr std::size_t kBytes = std::size_t{1} << 30;  // takes longer than a launch
  const auto array = DeviceArray<unsigned char>::filled_with_byte(kBytes, 0xcd).value();
  unsigned char* last = array.data() + kBytes - 4096;
  ASSERT_EQ(cudaMemsetAsync(last, 1, 4096, stream.get()), cudaSuccess);
  ASSERT_TRUE(stream.synchronize());
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  std::vector<unsigned char> host(4096);
  ASSERT_EQ(cudaMemcpy(host.data(), last, host.size(), cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(host, std::vector<unsigned char>(4096, 1));
}

TEST(DeviceArrayGpuTest, RefusedAllocationIsAnErrorAndLeavesNoStickyError) {
  DSAPERF_REQUIRE_GPU();
  const auto array = DeviceArray<char>::uninitialized(std::size_t{1} << 50);
  ASSERT_FALSE(array.has_value());
  EXPECT_EQ(array.error().code(), Errc::kOutOfMemory);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(NvmlGpuTest, FindsTheDeviceByItsBusId) {
  DSAPERF_REQUIRE_GPU();
  const auto nvml = Nvml::load();
  ASSERT_TRUE(nvml) << nvml.error().message();
  const auto state = nvml->state(current_device().value().pci_bus_id);
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_GT(state->sm_mhz, 0);
}

TEST(TimingGpuTest, WarmAndColdTimeTheSameWork) {
  DSAPERF_REQUIRE_GPU();
  auto buffer = DeviceArray<char>::filled_with_byte(1 << 20, 0).value();
  const StreamWork work = [&](CUstream_st* stream) -> Result<void> {
    DSAPERF_CUDA_TRY(cudaMemsetAsync(buffer.data(), 1, buffer.size(), stream));
    return {};
  };
  const auto cold = time_cold(work);
  const auto warm = time_warm(work);
  ASSERT_TRUE(cold) << cold.error().message();
  ASSERT_TRUE(warm) << warm.error().message();
  EXPECT_EQ(cold->samples, 15);
  EXPECT_GT(warm->median.value, 0);
}

}  // namespace
}  // namespace dsaperf::gpu
