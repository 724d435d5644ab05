// Measurements behind the numbers: what was collected now, what is there already, and what went to
// AIConfigurator.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dsaperf::report::integration {
namespace {

void add_tables(const Json& evidence, Section& section) {
  const auto systems = systems_of(evidence);
  auto rows = Json::array();
  for (const auto& table : list_at(document_of(evidence, "tables"), {"tables"})) {
    const auto system = text_at(table, {"system"});
    if (std::find(systems.begin(), systems.end(), system) == systems.end()) continue;
    std::string architectures;
    for (const auto& each : list_at(table, {"architectures"})) {
      if (each.is_string()) {
        architectures += (architectures.empty() ? "" : ", ") + each.get<std::string>();
      }
    }
    rows.push_back({{"system", system},
                    {"backend", text_at(table, {"backend"}) + " " + text_at(table, {"version"})},
                    {"phase", at(table, {"phase"})},
                    {"rows", at(table, {"rows"})},
                    {"architectures", architectures},
                    {"source", at(table, {"file"})}});
  }
  section.table("tables", "Measured tables that were used",
                {{"system", "system"},
                 {"backend", "backend"},
                 {"phase", "phase"},
                 {"rows", "rows"},
                 {"architectures", "architectures"}},
                std::move(rows));
}

}  // namespace

Section collect_section(const Json& evidence) {
  Section section("collect", "Measurements and AIConfigurator");
  const auto& plan = document_of(evidence, "collect");
  if (plan.is_object()) {
    const auto cases = list_at(plan, {"cases"}).size();
    const bool planned_only = !at(plan, {"report"}).is_object();
    section.say(
        planned_only
            ? fmt::format("Nothing was measured now: there is no GPU, or it was not asked for "
                          "(--collect standard). The standard grid of this model is {} cases, "
                          "about {:.0f} minutes on one {}; the numbers here rest on the tables "
                          "below.",
                          cases, std::ceil(number_at(plan, {"estimated_minutes"})),
                          text_at(plan, {"system"}))
            : fmt::format("{:.0f} of {} cases of the standard grid were measured now, {:.0f} had "
                          "been before, {:.0f} failed.",
                          number_at(plan, {"report", "measured"}), cases,
                          number_at(plan, {"report", "found"}),
                          number_at(plan, {"report", "failed"})),
        planned_only ? "modelled: collect --plan-only" : "collect");
  }
  add_tables(evidence, section);
  const auto& analyze = document_of(evidence, "analyze");
  const auto& mapping = at(analyze, {"aiconfigurator"});
  if (mapping.is_object()) {
    const auto family = text_at(mapping, {"family"});
    section.say(
        family.empty()
            ? "AIConfigurator 0.12 does not know this architecture; aiconfigurator.md says "
              "what a change there needs."
            : fmt::format("AIConfigurator 0.12 takes it as {}{}; aiconfigurator.md has the "
                          "details.",
                          family, at(mapping, {"exact"}) == true ? "" : ", with differences"),
        "aiconfigurator 0.12");
    auto rows = Json::array();
    for (const char* key : {"needs", "notes"}) {
      for (const auto& line : list_at(mapping, {key})) {
        rows.push_back({{"kind", std::string(key) == "needs" ? "needed" : "note"},
                        {"what", line},
                        {"source", "aiconfigurator 0.12"}});
      }
    }
    section.table("aiconfigurator", "AIConfigurator 0.12 and this model",
                  {{"kind", "kind"}, {"what", "what"}}, std::move(rows));
  }
  if (const auto& exported = document_of(evidence, "export"); exported.is_object()) {
    section.say("The measured rows were exported for AIConfigurator: folder aiconfigurator/.",
                "db export");
  }
  return section;
}

}  // namespace dsaperf::report::integration
