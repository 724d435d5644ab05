#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_sweep(CLI::App& app, Run& run);

}  // namespace dsaperf::tool
