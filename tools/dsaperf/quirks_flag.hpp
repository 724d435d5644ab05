#pragma once

#include "dsaperf/serving/quirks.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace dsaperf::tool {

// The flag that says which flaws of aiconfigurator --method compatible keeps.
inline void add_quirks(CLI::App& command, std::string& quirks) {
  std::string names;
  for (const auto quirk : serving::all_quirks())
    names += (names.empty() ? "" : ", ") + std::string(serving::name(quirk));
  command
      .add_option("--quirks", quirks,
                  "Flaws of aiconfigurator that --method compatible keeps: all, none, all,-NAME, "
                  "none,NAME of " +
                      names)
      ->capture_default_str();
}

}  // namespace dsaperf::tool
