#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `dsaperf collect CONFIG -o DIR` and the hidden `dsaperf collect-worker`, the process that
// measures for it.
void add_collect(CLI::App& app, Run& run);

}  // namespace dsaperf::tool
