#pragma once

#include "dsaperf/core/error.hpp"

#include <filesystem>
#include <string_view>

namespace dsaperf {

// The folder of shipped data (configs, systems, tables): $DSAPERF_DATA where set, else looked for
// upwards from the program or shared library that holds this code: `share/dsaperf` or `data` beside
// or above it, so an installed tree, a Python package and a build tree all find theirs. Fails with
// the places that were tried.
Result<std::filesystem::path> data_dir();

// Sets $DSAPERF_DATA, once, before the first lookup.
void set_data_dir(std::string_view directory);

}  // namespace dsaperf
