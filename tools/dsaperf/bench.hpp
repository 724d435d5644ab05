#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_bench(CLI::App& app, Run& run);

}  // namespace dsaperf::tool
