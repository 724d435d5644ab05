#pragma once

#include "command.hpp"
#include "dsaperf/serving/quirks.hpp"

#include <string>

namespace dsaperf::tool {

// The flag that says which flaws of aiconfigurator --method compatible keeps.
inline void add_quirks(Command& command, std::string& quirks) {
  std::string names;
  for (const auto quirk : serving::all_quirks())
    names += (names.empty() ? "" : ", ") + std::string(serving::name(quirk));
  command
      .add_option("--quirks", quirks,
                  "Flaws of aiconfigurator that --method compatible keeps: all, none, all,-NAME, "
                  "none,NAME of " +
                      names)
      .show_default();
}

}  // namespace dsaperf::tool
