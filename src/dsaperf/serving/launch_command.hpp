#pragma once

#include "dsaperf/serving/sweep.hpp"

#include <string>

namespace dsaperf::serving {

// Command lines that start a worker of this candidate, one a line; disaggregated: one of prefill
// and one of decode.
std::string launch_command(const Candidate& candidate, const std::string& model);

}  // namespace dsaperf::serving
