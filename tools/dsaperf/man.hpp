#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `dsaperf man [COMMAND ...] [-o DIR]`: manual pages from the help texts of the program itself.
void add_man(Command& app);

}  // namespace dsaperf::tool
