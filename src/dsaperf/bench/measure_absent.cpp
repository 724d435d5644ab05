#include "dsaperf/bench/measure.hpp"
#include "dsaperf/core/fail.hpp"

namespace dsaperf::bench {

Result<Card> card() {
  return fail(Errc::kUnsupported, "bench: this program was built without CUDA (DSAPERF_CUDA=OFF)");
}

Result<std::vector<Timing>> measure(const kernels::TunedShape& /*shape*/,
                                    const MeasureOptions& /*options*/) {
  return fail(Errc::kUnsupported, "bench: this program was built without CUDA (DSAPERF_CUDA=OFF)");
}

}  // namespace dsaperf::bench
