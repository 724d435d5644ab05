#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_align(Command& app);

}  // namespace dsaperf::tool
