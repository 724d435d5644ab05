#pragma once

#include "dsaperf/collect/layer_source.hpp"

namespace dsaperf::collect {

// Times layers on the current GPU, with NVML's readings and CUPTI's kernel names. `driver` of
// the options is filled in. Fails with kUnsupported in a build without a GPU part, and
// with kNotFound where there is no GPU.
Result<std::unique_ptr<TimingSource>> gpu_source(model::ModelSpec model,
                                                 LayerSource::Options options);

// GPUs that the driver shows to this process; 0 in a build without a GPU part.
int visible_gpus();

}  // namespace dsaperf::collect
