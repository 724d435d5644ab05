// Whether the layer computes what it should, and where its time goes on the machine at hand.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

namespace dsaperf::report::integration {
namespace {

std::string where(const Json& run) {
  return fmt::format("run on {} ({})", text_at(run, {"device"}), text_at(run, {"device_name"}));
}

Json stage_rows(const Json& run) {
  auto rows = Json::array();
  const auto source = "measured: " + where(run) + "; bound: " + text_at(run, {"bound_source"});
  for (const auto& stage : list_at(run, {"stages"})) {
    const auto& passed = at(stage, {"passed"});
    rows.push_back({{"stage", spaced(text_at(stage, {"name"}))},
                    {"time_us", at(stage, {"time_us"})},
                    {"bound_us", at(stage, {"bound_us"})},
                    {"bound_by", at(stage, {"bound_by"})},
                    {"error", at(stage, {"error"})},
                    {"tolerance", at(stage, {"tolerance"})},
                    {"check", passed.is_boolean() ? Json(passed == true ? "passed" : "failed")
                                                  : Json("not checked")},
                    {"source", source}});
  }
  return rows;
}

}  // namespace

Section run_section(const Json& evidence) {
  Section section("run", "Is the layer right?");
  const auto& run = document_of(evidence, "run");
  auto rows = stage_rows(run);
  if (rows.empty()) return section;
  section.say(
      fmt::format("Layer {} alone, {} heads, {} x {} new tokens after {} in a {} cache, {}: {} in "
                  "all. Each "
                  "stage is computed again in double precision on the input it had.",
                  number_at(run, {"layer"}), number_at(run, {"heads"}), number_at(run, {"batch"}),
                  number_at(run, {"new_tokens"}), number_at(run, {"past_tokens"}),
                  text_at(run, {"kv"}), where(run), duration(number_at(run, {"time_us"}))),
      "measured: " + where(run));
  const std::vector<Section::Column> columns = {
      {"stage", "stage"},       {"time_us", "us"},  {"bound_us", "bound, us"},
      {"bound_by", "bound by"}, {"error", "error"}, {"tolerance", "tolerated"},
      {"check", "check"}};
  // A CPU takes a thousand times as long as a GPU: in the unit that has the fewest digits.
  const bool in_ms = number_at(run, {"time_us"}) >= 1e4;
  const std::string unit = in_ms ? "ms" : "us";
  const auto time_axis = [&](const char* name) { return field(name, "quantitative", unit); };
  const auto in_unit = [&](const char* name, const char* as) {
    return Json{{"calculate", fmt::format("datum.{} / {}", name, in_ms ? 1000 : 1)}, {"as", as}};
  };
  const auto stage_axis =
      Json{{"field", "stage"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}};
  section.picture(
      "run_stages", "Stages as run, against their bounds",
      "A bar is the measured time of a stage, the tick its lower bound on the same machine.",
      picture_of(rows, 280,
                 {{"transform", {in_unit("time_us", "time"), in_unit("bound_us", "bound")}},
                  {"encoding", {{"y", stage_axis}, {"tooltip", tooltip(columns)}}},
                  {"layer",
                   {{{"mark", "bar"},
                     {"encoding",
                      {{"x", time_axis("time")},
                       {"color",
                        {{"field", "check"},
                         {"type", "nominal"},
                         {"title", "check"},
                         {"scale",
                          {{"domain", {"passed", "failed", "not checked"}},
                           {"range", {"#4c9f70", "#d1495b", "#7f8ba0"}}}}}}}}},
                    {{"mark", {{"type", "tick"}, {"thickness", 3}, {"color", kInk}}},
                     {"encoding", {{"x", time_axis("bound")}}}}}}}));
  section.table("run_stages", "Stages as run", columns, std::move(rows));
  return section;
}

}  // namespace dsaperf::report::integration
