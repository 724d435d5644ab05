#pragma once

#include "dsaperf/collect/layer_source.hpp"
#include "dsaperf/cost/system_spec.hpp"

namespace dsaperf::collect {

// Times layers on this machine's cores: the same layer over the same inputs, without a card's state
// and without evidence (kernel_source is the method's name). Of a GPU the times say nothing.
// `device` and `method` of the options are filled in.
Result<std::unique_ptr<TimingSource>> cpu_source(model::ModelSpec model,
                                                 LayerSource::Options options);

// This machine as what a plan is for: rates as measured now (a quarter of a second), which other
// work on it lowers, and half of its memory, since weights stand in it twice.
Result<cost::SystemSpec> this_machine();

}  // namespace dsaperf::collect
