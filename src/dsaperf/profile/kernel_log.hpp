#pragma once

#include "dsaperf/core/error.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::profile {

// Names of the kernels that this process runs while it is asked to look, from CUPTI. Outside of
// kernels_of nothing is recorded, so that timings between two looks are those of the program.
//
// CUPTI is opened with dlopen: libcupti of CUDA 12 or 13 (cupti_library.hpp). One object a process.
class KernelLog {
 public:
  // Fails with kNotFound where there is no libcupti, with kUnsupported where it refuses.
  static Result<std::unique_ptr<KernelLog>> create();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;
  ~KernelLog() = default;

  // Names in order of start, mangled as CUPTI has them. `work` must be done on the GPU when it
  // returns.
  Result<std::vector<std::string>> kernels_of(const std::function<Result<void>()>& work);

 private:
  KernelLog() = default;
};

}  // namespace dsaperf::profile
