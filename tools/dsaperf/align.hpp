#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_align(CLI::App& app, Run& run);

}  // namespace dsaperf::tool
