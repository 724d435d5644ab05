#pragma once

#include "command.hpp"

namespace dsaperf::tool {

void add_query(Command& app);

}  // namespace dsaperf::tool
