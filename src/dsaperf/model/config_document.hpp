#pragma once

#include "dsaperf/core/error.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// Parses a JSON object of foreign origin. A byte-order mark is skipped with a warning; NaN and
// Infinity, which Python writes although JSON has neither, are read as null and each is a warning
// with its place; what is not JSON (a cut file), nested deeper than 100 levels, or not an object is
// an error with line and column.
Result<nlohmann::json> parse_document(std::string_view text, std::vector<std::string>& warnings);

}  // namespace dsaperf::model
