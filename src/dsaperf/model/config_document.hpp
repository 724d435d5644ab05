#pragma once

#include "dsaperf/core/error.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string_view>

namespace dsaperf::model {

// Parses a JSON object of foreign origin: a byte-order mark is skipped; what is not JSON (NaN and
// Infinity, which Python writes; a cut file), nested deeper than 100 levels, or not an object is an
// error with line and column.
Result<nlohmann::json> parse_document(std::string_view text);

}  // namespace dsaperf::model
