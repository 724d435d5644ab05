#pragma once

#include "dsaperf/capi/call.hpp"

namespace dsaperf::capi {

// Where a stage runs, after the caller's struct was read.
struct Execution {
  dsaperf_device device = DSAPERF_CPU;
  int threads = 1;
  CUstream_st* stream = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_size = 0;
};

Result<Execution> read_execution(const dsaperf_execution* given);
Result<dsaperf_device> read_device(std::int32_t device, std::int32_t threads);

// One stage of the C interface: `convert` turns its C struct into the parameters of kernels/, the
// rest runs them somewhere. `gpu` and `gpu_workspace` say kUnsupported where there is no such
// kernel.
template <typename Convert, typename Reference, typename Cpu, typename Gpu, typename GpuWorkspace>
struct Stage {
  Convert convert;
  Reference reference;
  Cpu cpu;  // takes a number of threads, too
  Gpu gpu;  // takes an Execution, too
  GpuWorkspace gpu_workspace;

  template <typename C>
  dsaperf_status run(const C* given, const dsaperf_execution* where, dsaperf_error* error) const {
    return guarded(error, [&]() -> Result<void> {
      DSAPERF_TRY_ASSIGN(const Execution execution, read_execution(where));
      DSAPERF_TRY_ASSIGN(const C read_params, read(given, "params"));
      DSAPERF_TRY_ASSIGN(const auto params, convert(read_params));
      switch (execution.device) {
        case DSAPERF_CPU:
          return cpu(params, execution.threads);
        case DSAPERF_CPU_REFERENCE:
          return reference(params);
        case DSAPERF_GPU:
          break;
      }
      return gpu(params, execution);
    });
  }

  template <typename C>
  dsaperf_status workspace(const C* given, const dsaperf_execution* where, std::size_t* bytes,
                           dsaperf_error* error) const {
    return guarded(error, [&]() -> Result<void> {
      if (bytes == nullptr) return fail(Errc::kInvalidArgument, "bytes is null");
      DSAPERF_TRY_ASSIGN(const Execution execution, read_execution(where));
      DSAPERF_TRY_ASSIGN(const C read_params, read(given, "params"));
      DSAPERF_TRY_ASSIGN(const auto params, convert(read_params));
      *bytes = 0;  // nothing on the host
      if (execution.device != DSAPERF_GPU) return {};
      DSAPERF_TRY_ASSIGN(*bytes, gpu_workspace(params));
      return {};
    });
  }
};

}  // namespace dsaperf::capi
