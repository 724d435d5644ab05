#include "dsaperf/serving/host_costs.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <array>

namespace dsaperf::serving {
namespace {

struct Field {
  std::string_view name;
  double HostCosts::* value;
};
constexpr std::array<Field, 4> kFields = {{{"graph_gap_us", &HostCosts::graph_gap_us},
                                           {"launch_us", &HostCosts::launch_us},
                                           {"request_ms", &HostCosts::request_ms},
                                           {"text_us", &HostCosts::text_us}}};

}  // namespace

HostCosts host_costs(Engine engine) {
  switch (engine) {
    // One Python process takes requests, cuts them into tokens and streams every answer.
    case Engine::kSglang:
      return {.graph_gap_us = 60, .launch_us = 300, .request_ms = 80, .text_us = 25};
    case Engine::kVllm:
    case Engine::kTrtllm:
      return {.graph_gap_us = 60, .launch_us = 300, .request_ms = 20, .text_us = 5};
  }
  return {};
}

Result<HostCosts> with_changes(HostCosts costs, std::string_view changes) {
  while (!changes.empty()) {
    const auto comma = changes.find(',');
    const auto change = changes.substr(0, comma);
    changes = comma == std::string_view::npos ? std::string_view() : changes.substr(comma + 1);
    const auto equal = change.find('=');
    const auto* field = std::find_if(kFields.begin(), kFields.end(), [&](const Field& known) {
      return known.name == change.substr(0, equal);
    });
    if (field == kFields.end())
      return fail(Errc::kInvalidArgument,
                  "host constant '{}' is not one of graph_gap_us, launch_us, request_ms, text_us",
                  change.substr(0, equal));
    const auto value =
        equal == std::string_view::npos ? std::nullopt : parse_double(change.substr(equal + 1));
    if (!value || *value < 0)
      return fail(Errc::kInvalidArgument, "host constant '{}': a number from 0 is due", change);
    costs.*field->value = *value;
  }
  return costs;
}

std::string text(const HostCosts& costs) {
  std::string out;
  for (const Field& field : kFields)
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", field.name, costs.*field.value);
  return out;
}

double host_delay_ms(const HostCosts& costs, double prompt_tokens) {
  return costs.request_ms + prompt_tokens * costs.text_us / 1000;
}

}  // namespace dsaperf::serving
