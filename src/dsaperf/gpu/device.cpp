#include "dsaperf/gpu/device.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"

#include <array>

namespace dsaperf::gpu {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

Result<Device> query_device(int ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) {
    return fail(Errc::kNotFound, "no GPU {}: the driver shows {}", ordinal, device_count());
  }
  cudaDeviceProp properties{};
  DSAPERF_CUDA_TRY(cudaGetDeviceProperties(&properties, ordinal));
  Device device;
  device.ordinal = ordinal;
  device.name = properties.name;
  device.capability_major = properties.major;
  device.capability_minor = properties.minor;
  device.sm_count = properties.multiProcessorCount;
  device.memory = {static_cast<std::int64_t>(properties.totalGlobalMem)};
  device.l2 = {properties.l2CacheSize};
  device.shared_per_block = {static_cast<std::int64_t>(properties.sharedMemPerBlockOptin)};
  DSAPERF_CUDA_TRY(cudaDriverGetVersion(&device.driver_version));
  DSAPERF_CUDA_TRY(cudaRuntimeGetVersion(&device.runtime_version));
  std::array<char, 32> bus_id{};
  DSAPERF_CUDA_TRY(cudaDeviceGetPCIBusId(bus_id.data(), bus_id.size(), ordinal));
  device.pci_bus_id = bus_id.data();
  return device;
}

Result<Device> current_device() {
  if (device_count() == 0) return fail(Errc::kNotFound, "no GPU: the driver shows none");
  int ordinal = 0;
  DSAPERF_CUDA_TRY(cudaGetDevice(&ordinal));
  return query_device(ordinal);
}

Result<int> current_sm_count() {
  int ordinal = 0;
  int count = 0;
  DSAPERF_CUDA_TRY(cudaGetDevice(&ordinal));
  DSAPERF_CUDA_TRY(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, ordinal));
  return count;
}

}  // namespace dsaperf::gpu
