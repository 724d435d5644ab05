#include "dsaperf/collect/cpu_source.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/peak.hpp"
#include "dsaperf/op/backend.hpp"

#include <unistd.h>

#include <fstream>

namespace dsaperf::collect {
namespace {

// "Intel(R) Xeon(R) ..." of the first core; another architecture's Linux may have no such line.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

}  // namespace

Result<std::unique_ptr<TimingSource>> cpu_source(model::ModelSpec model,
                                                 LayerSource::Options options) {
  auto backend = op::cpu_backend(kernels::cpu::available_threads());
  options.device = fmt::format("{}, {}", processor_name(), backend->device_name());
  options.method = kCpuMethod;
  DSAPERF_TRY_ASSIGN(auto source,
                     LayerSource::create(std::move(backend), spec_of_model(std::move(model)),
                                         std::move(options), nullptr, nullptr));
  return std::unique_ptr<TimingSource>(std::move(source));
}

Result<cost::SystemSpec> this_machine() {
  const int threads = kernels::cpu::available_threads();
  cost::SystemSpec system;
  system.name = "this machine";
  system.device = processor_name();
  system.hbm_bytes_per_s = kernels::cpu::measured_bytes_per_s(threads);
  system.hbm_capacity = {sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2};
  DSAPERF_TRY_ASSIGN(const double flop_per_s, kernels::cpu::measured_flop_per_s(threads));
  system.peak_flop_per_s.fill(flop_per_s);
  return system;
}

}  // namespace dsaperf::collect
