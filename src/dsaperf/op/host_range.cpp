#include "dsaperf/op/host_range.hpp"

#if DSAPERF_WITH_CUDA && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>

namespace dsaperf::op {

HostRange::HostRange(const std::string& name) {
  nvtxRangePushA(name.c_str());
}
HostRange::~HostRange() {
  nvtxRangePop();
}

}  // namespace dsaperf::op

#else

namespace dsaperf::op {

HostRange::HostRange(const std::string& /*name*/) {
}
HostRange::~HostRange() = default;

}  // namespace dsaperf::op

#endif
