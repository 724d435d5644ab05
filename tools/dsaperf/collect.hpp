#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `dsaperf collect CONFIG -o DIR`. The processes that measure for it are collect_source.hpp's.
void add_collect(Command& app);

}  // namespace dsaperf::tool
