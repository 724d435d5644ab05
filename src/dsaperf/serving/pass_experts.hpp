#pragma once

#include "dsaperf/serving/pass_writer.hpp"

namespace dsaperf::serving {

// The lines of the MLPs: dense layers, then shared and routed experts of the others with what moves
// tokens between them.
Result<void> write_mlps(PassWriter& pass);

// Of `layers` layers: experts behind DeepEP's exchanges, and the shared expert whole on every rank.
Result<void> write_exchanged_experts(PassWriter& pass, double layers);

// Fails with kNotFound where exchanges of a layout that has them were not measured.
Result<void> find_exchanges(const PassModel::Inputs& inputs,
                            predict::compatible::OperatorSet& operators);

}  // namespace dsaperf::serving
