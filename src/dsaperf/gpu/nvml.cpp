#include "dsaperf/gpu/nvml.hpp"

#include "dsaperf/core/fail.hpp"

#include <dlfcn.h>

#include <nvml.h>

#include <array>
#include <utility>

namespace dsaperf::gpu {
namespace {

template <typename Function>
Function symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));  // NOLINT: dlsym has no other form
}

// Calls name(arguments...) if the library has it; true when it answered.
template <typename... Arguments>
bool call(void* library, const char* name, Arguments... arguments) {
  const auto function = symbol<int (*)(Arguments...)>(library, name);
  return function != nullptr && function(arguments...) == 0;
}

struct Reason {
  unsigned long long bit;
  const char* name;
};
constexpr std::array kReasons{
    Reason{nvmlClocksThrottleReasonSwPowerCap, "software power cap"},
    Reason{nvmlClocksThrottleReasonHwSlowdown, "hardware slowdown"},
    Reason{nvmlClocksThrottleReasonSwThermalSlowdown, "software thermal"},
    Reason{nvmlClocksThrottleReasonHwThermalSlowdown, "hardware thermal"},
    Reason{nvmlClocksThrottleReasonHwPowerBrakeSlowdown, "hardware power brake"},
};

}  // namespace

std::vector<std::string> GpuState::throttle_reasons() const {
  std::vector<std::string> reasons;
  for (const Reason& reason : kReasons) {
    if ((throttle_bits & reason.bit) != 0) reasons.emplace_back(reason.name);
  }
  return reasons;
}

bool GpuState::clocks_set_by_application() const {
  return (throttle_bits & nvmlClocksThrottleReasonApplicationsClocksSetting) != 0;
}

Result<Nvml> Nvml::load() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(Errc::kNotFound, "libnvidia-ml.so.1 cannot be loaded: no NVIDIA driver here");
  }
  if (!call(library, "nvmlInit_v2")) {
    dlclose(library);
    return fail(Errc::kNotFound, "NVML does not start: no NVIDIA driver running");
  }
  return Nvml(library);
}

Nvml::Nvml(Nvml&& other) noexcept : library_(std::exchange(other.library_, nullptr)) {
}

Nvml& Nvml::operator=(Nvml&& other) noexcept {
  std::swap(library_, other.library_);
  return *this;
}

Nvml::~Nvml() {
  if (library_ == nullptr) return;
  call(library_, "nvmlShutdown");
  dlclose(library_);
}

Result<GpuState> Nvml::state(const std::string& pci_bus_id) const {
  nvmlDevice_t device = nullptr;
  if (!call(library_, "nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.c_str(), &device)) {
    return fail(Errc::kNotFound, "NVML knows no GPU at {}", pci_bus_id);
  }
  GpuState state;
  unsigned value = 0;
  if (call(library_, "nvmlDeviceGetClockInfo", device, NVML_CLOCK_SM, &value)) {
    state.sm_mhz = static_cast<int>(value);
  }
  if (call(library_, "nvmlDeviceGetMaxClockInfo", device, NVML_CLOCK_SM, &value)) {
    state.sm_mhz_max = static_cast<int>(value);
  }
  if (call(library_, "nvmlDeviceGetClockInfo", device, NVML_CLOCK_MEM, &value)) {
    state.memory_mhz = static_cast<int>(value);
  }
  if (call(library_, "nvmlDeviceGetPowerUsage", device, &value)) state.power_w = value * 1e-3;
  if (call(library_, "nvmlDeviceGetEnforcedPowerLimit", device, &value)) {
    state.power_limit_w = value * 1e-3;
  }
  if (call(library_, "nvmlDeviceGetTemperature", device, NVML_TEMPERATURE_GPU, &value)) {
    state.temperature_c = static_cast<int>(value);
  }
  call(library_, "nvmlDeviceGetCurrentClocksThrottleReasons", device, &state.throttle_bits);
  std::array<char, 96> driver{};
  if (call(library_, "nvmlSystemGetDriverVersion", driver.data(),
           static_cast<unsigned>(driver.size()))) {
    state.driver = driver.data();
  }
  return state;
}

}  // namespace dsaperf::gpu
