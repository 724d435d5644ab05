#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/predict/leave_out.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace dsaperf::report {

// A table of errors: a line a table and left-out sort, the methods side by side.
std::string text(const std::vector<predict::LeaveOutSummary>& rows, const TextStyle& style);
nlohmann::ordered_json json(const std::vector<predict::LeaveOutSummary>& rows);  // dsaperf.db_loo.1

// One line a predicted row, for plots: table, method, left_out, axis, population, ..., measured_ms,
// predicted_ms, low_ms, high_ms.
std::string csv(const predict::TableName& table, predict::Method method, predict::LeftOut left_out,
                const std::vector<predict::LeftOutPoint>& points, bool with_header);

}  // namespace dsaperf::report
