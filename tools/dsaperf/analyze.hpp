#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_analyze(Command& app);

}  // namespace dsaperf::tool
