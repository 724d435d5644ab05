#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/backend.hpp"

#include <memory>

struct CUstream_st;

namespace dsaperf::op {

// The current GPU; all work goes to `stream`, which must outlive the backend, or to a stream of its
// own. Fails with kNotFound where this build has no GPU part, or the machine no GPU.
Result<std::unique_ptr<Backend>> gpu_backend(CUstream_st* stream = nullptr);

}  // namespace dsaperf::op
