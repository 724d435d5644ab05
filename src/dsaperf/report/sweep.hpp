#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/serving/sweep.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace dsaperf::report {

std::string text(const serving::SweepResult& result, int top, const TextStyle& style);
nlohmann::ordered_json json(const serving::SweepResult& result);  // dsaperf.sweep.1
// The front of workers that do both phases, or, where the sweep had none, of pairs of workers for
// one each, in the columns of aiconfigurator's pareto.csv and rounded to three decimals as there.
std::string csv(const serving::SweepResult& result);

}  // namespace dsaperf::report
