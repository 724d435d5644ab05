#include "dsaperf/serving/host_costs.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/csv_numbers.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {
namespace {

struct Field {
  std::string_view name;
  double HostCosts::* value;
};
constexpr std::array<Field, 5> kFields = {{{"graph_gap_us", &HostCosts::graph_gap_us},
                                           {"launch_us", &HostCosts::launch_us},
                                           {"request_ms", &HostCosts::request_ms},
                                           {"text_us", &HostCosts::text_us},
                                           {"prefill_factor", &HostCosts::prefill_factor}}};
constexpr std::array<std::string_view, 4> kKeys = {"engine", "system", "age", "experts"};
constexpr std::string_view kOlder = "older";

// Of the engine's launches on the system's host, over those on an x86 server's: 1 for a system that
// data/systems does not know.
Result<double> launch_ratio(const std::filesystem::path& data, Engine engine,
                            std::string_view system) {
  const auto spec = cost::find_system(data, std::string(system));
  if (!spec && spec.error().code() == Errc::kNotFound) return 1;
  if (!spec) return tl::unexpected(spec.error());
  const auto ratio = spec->host_launch.find(std::string(name(engine)));
  return ratio == spec->host_launch.end() ? 1 : ratio->second;
}

}  // namespace

Result<HostCosts> host_costs(Engine engine, const HostedOn& on) {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  std::vector<std::string_view> names;
  for (const Field& field : kFields) names.push_back(field.name);
  const auto path = data / "serving" / "host.csv";
  DSAPERF_TRY_ASSIGN(const auto rows, read_number_rows(path, kKeys, names));
  const std::string_view age = on.age == EngineAge::kOlder ? kOlder : "";
  const NumberRow* found = nullptr;
  int most = -1;
  for (const NumberRow& row : rows) {
    if (row.words[0] != name(engine)) continue;
    int said = 0;  // of what the row is of
    bool is_of = true;
    const auto weigh = [&](const std::string& word, std::string_view asked, int weight) {
      is_of = is_of && (word.empty() || word == asked);
      if (!word.empty()) said += weight;
    };
    weigh(row.words[1], on.system, 1);
    weigh(row.words[3], on.experts, 2);
    weigh(row.words[2], age, 4);
    if (!is_of || said <= most) continue;
    most = said;
    found = &row;
  }
  if (found == nullptr)
    return fail(Errc::kNotFound, "{}: no row of {}", path.native(), name(engine));
  HostCosts costs;
  for (std::size_t i = 0; i < kFields.size(); ++i) costs.*kFields[i].value = found->numbers[i];
  if (found->words[1].empty()) {
    DSAPERF_TRY_ASSIGN(const double ratio, launch_ratio(data, engine, on.system));
    costs.launch_us *= ratio;
    costs.request_ms *= ratio;
  }
  return costs;
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
                  "host constant '{}' is not one of graph_gap_us, launch_us, request_ms, text_us, "
                  "prefill_factor",
                  change.substr(0, equal));
    const auto value =
        equal == std::string_view::npos ? std::nullopt : parse_double(change.substr(equal + 1));
    const bool is_time = value && *value >= 0 && std::isfinite(*value);
    if (!is_time)
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
