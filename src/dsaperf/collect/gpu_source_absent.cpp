#include "dsaperf/collect/gpu_source.hpp"
#include "dsaperf/core/fail.hpp"

namespace dsaperf::collect {

Result<std::unique_ptr<TimingSource>> gpu_source(model::ModelSpec, LayerSource::Options) {
  return fail(Errc::kUnsupported,
              "this build has no GPU part: --plan-only lists the cases, --timing cpu measures "
              "small ones on "
              "the CPU, --timing fake tries the collection without measuring");
}

int visible_gpus() {
  return 0;
}

}  // namespace dsaperf::collect
