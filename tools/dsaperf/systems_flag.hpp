#pragma once

#include "command.hpp"

#include <string>

namespace dsaperf::tool {

// The flag that names AIConfigurator's tables, of every command that asks them.
inline void add_systems(Command& command, std::string& root) {
  command.add_option("--systems", root,
                     "AIConfigurator's systems folder (else found by itself); none: the tables "
                     "that are shipped, alone");
}

}  // namespace dsaperf::tool
