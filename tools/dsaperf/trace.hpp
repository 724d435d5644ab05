#pragma once

#include "command.hpp"
#include "dsaperf/trace/rules.hpp"

#include <string>
#include <vector>

namespace dsaperf::tool {

void add_trace(Command& app);

// "5%" or "0.05" as 0.05.
Result<double> parse_share(const std::string& text);

// The shipped rules, with those of the files asked first; of the files the last one first.
Result<trace::RuleSet> stage_rules(const std::vector<std::string>& files);

}  // namespace dsaperf::tool
