#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_integrate(Command& app);

}  // namespace dsaperf::tool
