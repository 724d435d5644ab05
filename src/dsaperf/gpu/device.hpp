#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"

#include <string>

namespace dsaperf::gpu {

// What the kernels and reports need to know of a GPU. Read from the driver, never assumed.
struct Device {
  int ordinal = 0;
  std::string name;  // as the driver says it: "NVIDIA H200"
  int capability_major = 0;
  int capability_minor = 0;
  int sm_count = 0;
  Bytes memory;
  Bytes l2;
  Bytes shared_per_block;  // with the opt-in attribute
  int driver_version = 0;  // 13000 = 13.0
  int runtime_version = 0;
  std::string pci_bus_id;

  bool is_hopper() const { return capability_major == 9 && capability_minor == 0; }
};

// Number of GPUs that the driver shows; 0 where there is no driver.
int device_count();

// Fails with kNotFound where there is no such device, or no driver.
Result<Device> query_device(int ordinal);

// The device of the calling thread.
Result<Device> current_device();

// Number of SMs of the calling thread's device; a cached attribute, cheap enough for each launch.
Result<int> current_sm_count();

}  // namespace dsaperf::gpu
