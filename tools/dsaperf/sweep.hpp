#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_sweep(Command& app);

}  // namespace dsaperf::tool
