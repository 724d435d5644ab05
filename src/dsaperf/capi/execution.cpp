#include "dsaperf/capi/execution.hpp"

#include "dsaperf/kernels/cpu/cpu.hpp"

namespace dsaperf::capi {

Result<dsaperf_device> read_device(std::int32_t device, std::int32_t threads) {
  if (threads < 0 || threads > 4096)
    return fail(Errc::kInvalidArgument, "threads {} is not 0 ... 4096", threads);
  return enumerator<dsaperf_device>(device, 3, "device");
}

Result<Execution> read_execution(const dsaperf_execution* given) {
  if (given == nullptr) return Execution{.threads = kernels::cpu::available_threads()};
  DSAPERF_TRY_ASSIGN(const auto where, read(given, "execution"));
  DSAPERF_TRY_ASSIGN(const auto device, read_device(where.device, where.threads));
  return Execution{.device = device,
                   .threads = where.threads > 0 ? where.threads : kernels::cpu::available_threads(),
                   .stream = where.stream,
                   .workspace = where.workspace,
                   .workspace_size = where.workspace_size};
}

}  // namespace dsaperf::capi
