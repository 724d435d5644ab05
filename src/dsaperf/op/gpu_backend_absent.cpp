#include "dsaperf/core/fail.hpp"
#include "dsaperf/op/gpu_backend.hpp"

namespace dsaperf::op {

Result<std::unique_ptr<Backend>> gpu_backend(CUstream_st* /*stream*/) {
  return fail(Errc::kNotFound,
              "no GPU: this build of dsaperf has no GPU part (DSAPERF_CUDA is off); "
              "use --device cpu");
}

}  // namespace dsaperf::op
