#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/backend.hpp"

#include <memory>

namespace dsaperf::op {

// The current GPU. Fails with kNotFound where this build has no GPU part, or the machine no GPU.
Result<std::unique_ptr<Backend>> gpu_backend();

}  // namespace dsaperf::op
