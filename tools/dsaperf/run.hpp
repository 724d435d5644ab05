#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// dsaperf run CONFIG: one attention layer at one shape, timed by stage and checked.
void add_run(Command& app);

}  // namespace dsaperf::tool
