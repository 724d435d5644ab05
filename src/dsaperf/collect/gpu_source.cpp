#include "dsaperf/collect/gpu_source.hpp"

#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/nvml.hpp"
#include "dsaperf/op/gpu_backend.hpp"
#include "dsaperf/profile/kernel_log.hpp"

#include <optional>

namespace dsaperf::collect {
namespace {

class NvmlReader final : public CardReader {
 public:
  NvmlReader(gpu::Nvml nvml, std::string pci_bus_id)
      : nvml_(std::move(nvml)), pci_bus_id_(std::move(pci_bus_id)) {}

  Result<CardReading> read() override {
    DSAPERF_TRY_ASSIGN(const auto state, nvml_.state(pci_bus_id_));
    return CardReading{.sm_mhz = state.sm_mhz,
                       .memory_mhz = state.memory_mhz,
                       .clocks_locked = state.clocks_set_by_application(),
                       .power_w = state.power_w,
                       .temperature_c = state.temperature_c,
                       .throttle_reasons = state.throttle_reasons()};
  }

 private:
  gpu::Nvml nvml_;
  std::string pci_bus_id_;
};

class CuptiWitness final : public KernelWitness {
 public:
  explicit CuptiWitness(std::unique_ptr<profile::KernelLog> log) : log_(std::move(log)) {}

  Result<std::vector<std::string>> kernels_of(const std::function<Result<void>()>& work) override {
    return log_->kernels_of(work);
  }

 private:
  std::unique_ptr<profile::KernelLog> log_;
};

}  // namespace

Result<std::unique_ptr<TimingSource>> gpu_source(model::ModelSpec model,
                                                 LayerSource::Options options) {
  DSAPERF_TRY_ASSIGN(auto backend, op::gpu_backend());
  DSAPERF_TRY_ASSIGN(const auto device, gpu::current_device());
  DSAPERF_TRY_ASSIGN(auto nvml, gpu::Nvml::load());
  DSAPERF_TRY_ASSIGN(const auto state, nvml.state(device.pci_bus_id));
  DSAPERF_TRY_ASSIGN(auto log, profile::KernelLog::create());
  options.driver = state.driver;
  DSAPERF_TRY_ASSIGN(
      auto source,
      LayerSource::create(std::move(backend), spec_of_model(std::move(model)), std::move(options),
                          std::make_unique<NvmlReader>(std::move(nvml), device.pci_bus_id),
                          std::make_unique<CuptiWitness>(std::move(log))));
  return std::unique_ptr<TimingSource>(std::move(source));
}

int visible_gpus() {
  return gpu::device_count();
}

}  // namespace dsaperf::collect
