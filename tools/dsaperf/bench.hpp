#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_bench(Command& app);

}  // namespace dsaperf::tool
