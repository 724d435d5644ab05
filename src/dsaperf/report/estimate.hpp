#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/serving/estimate.hpp"
#include "dsaperf/serving/estimate_file.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace dsaperf::report {

std::string text(const serving::Estimate& estimate, const TextStyle& style);
nlohmann::ordered_json json(const serving::Estimate& estimate);  // dsaperf.estimate.1

std::string text(const serving::FileEstimate& result, const TextStyle& style);
nlohmann::ordered_json json(
    const serving::FileEstimate& result);  // dsaperf.estimate.1, with `rows`

}  // namespace dsaperf::report
