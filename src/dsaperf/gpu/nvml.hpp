#pragma once

#include "dsaperf/core/error.hpp"

#include <string>
#include <vector>

namespace dsaperf::gpu {

// State of a GPU at one moment, as the driver reports it.
struct GpuState {
  int sm_mhz = 0;
  int sm_mhz_max = 0;
  int memory_mhz = 0;
  double power_w = 0;
  double power_limit_w = 0;
  int temperature_c = 0;
  unsigned long long throttle_bits = 0;
  std::string driver;

  // Names of the reasons in throttle_bits that slow a measurement; idle and an application's own
  // clock setting do not count.
  std::vector<std::string> throttle_reasons() const;
  // Whether someone has set the clocks (locked or application clocks) below what the card would
  // run.
  bool clocks_set_by_application() const;
};

// NVML, loaded when first asked for, so that programs start on machines without a driver. Reads
// only: clocks, power limits and modes are never changed. Thread-compatible.
class Nvml {
 public:
  // Fails with kNotFound where libnvidia-ml.so.1 is missing or refuses.
  static Result<Nvml> load();

  Nvml(Nvml&& other) noexcept;
  Nvml& operator=(Nvml&& other) noexcept;
  ~Nvml();

  // pci_bus_id as in Device, because NVML's own numbering ignores CUDA_VISIBLE_DEVICES. What a
  // driver does not report stays 0.
  Result<GpuState> state(const std::string& pci_bus_id) const;

 private:
  explicit Nvml(void* library) : library_(library) {}

  void* library_ = nullptr;
};

}  // namespace dsaperf::gpu
