#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_estimate(Command& app);

}  // namespace dsaperf::tool
