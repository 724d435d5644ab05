#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/model/analysis.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace dsaperf::report {

// The document of `dsaperf analyze --json`, format dsaperf.analyze.1 (docs/formats/analyze.md).
nlohmann::ordered_json analyze_document(const model::Analysis& analysis);

// The same for a person at a terminal.
std::string analyze_text(const model::Analysis& analysis, const TextStyle& style);

}  // namespace dsaperf::report
