#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_profile(Command& app);

}  // namespace dsaperf::tool
