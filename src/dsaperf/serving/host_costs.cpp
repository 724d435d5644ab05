#include "dsaperf/serving/host_costs.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

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

Result<HostCosts> host_costs(Engine engine, std::string_view system) {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  const auto path = data / "serving" / "host.csv";
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
  DSAPERF_TRY_ASSIGN(bool more, csv.next());
  const auto header = more ? csv.fields() : std::vector<std::string_view>();
  const auto engine_at = find_column(header, "engine");
  const auto system_at = find_column(header, "system");
  std::array<std::size_t, kFields.size()> at{};
  for (std::size_t i = 0; i < kFields.size(); ++i) {
    const auto column = find_column(header, kFields[i].name);
    if (!column || !engine_at || !system_at)
      return fail(Errc::kParse, "{}: columns engine, system, {} are due", path.native(),
                  kFields[i].name);
    at[i] = *column;
  }
  std::optional<HostCosts> found;
  while (true) {
    DSAPERF_TRY_ASSIGN(more, csv.next());
    if (!more) break;
    const auto of = csv.field(*system_at);
    if (csv.field(*engine_at) != name(engine) || (of != system && (!of.empty() || found))) continue;
    HostCosts costs;
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      const auto value = parse_double(csv.field(at[i]));
      if (!value)
        return fail(Errc::kParse, "{}:{}: {} is no number", path.native(), csv.line(),
                    kFields[i].name);
      costs.*kFields[i].value = *value;
    }
    found = costs;
  }
  if (!found) return fail(Errc::kNotFound, "{}: no row of {}", path.native(), name(engine));
  return *found;
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
