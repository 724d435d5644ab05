#pragma once

#include <filesystem>
#include <optional>

namespace dsaperf::perfdb {

// The tables of the aiconfigurator_core that is installed in $VIRTUAL_ENV, for the first python3 on
// PATH, or in scripts/setup's environment (build/ above the program), the first of these that has
// one.
std::optional<std::filesystem::path> installed_systems();

}  // namespace dsaperf::perfdb
