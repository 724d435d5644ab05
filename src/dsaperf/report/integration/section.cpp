#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace dsaperf::report::integration {

Json cell(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

std::string duration(double us) {
  if (!std::isfinite(us)) return "-";
  if (us >= 1e6) return fmt::format("{:.3g} s", us / 1e6);
  // Three digits without an exponent: 999.7 us is 1 ms.
  if (us >= 999.5) return fmt::format("{:.{}f} ms", us / 1e3, us < 1e4 ? 2 : us < 1e5 ? 1 : 0);
  return fmt::format("{:.{}f} us", us, us < 10 ? 2 : us < 100 ? 1 : 0);
}

std::string quantity(double value) {
  constexpr std::array kSteps = {std::pair{1e12, "T"}, std::pair{1e9, "B"}, std::pair{1e6, "M"},
                                 std::pair{1e3, "k"}};
  for (const auto& [size, letter] : kSteps) {
    if (value >= size) return fmt::format("{:.1f} {}", value / size, letter);
  }
  return fmt::format("{:.0f}", value);
}

std::string spaced(std::string_view snake_case) {
  std::string text(snake_case);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().native();
}

Section::Section(std::string name, std::string title)
    : json_({{"name", std::move(name)},
             {"title", std::move(title)},
             {"text", Json::array()},
             {"commands", Json::array()},
             {"pictures", Json::array()},
             {"tables", Json::array()}}) {
}

void Section::say(std::string line, std::string source) {
  json_["text"].push_back({{"line", std::move(line)}, {"source", std::move(source)}});
}

void Section::command(std::string title, std::string line) {
  json_["commands"].push_back({{"title", std::move(title)}, {"line", std::move(line)}});
}

void Section::table(std::string name, std::string title, const std::vector<Column>& columns,
                    Json rows) {
  if (rows.empty()) return;
  auto heads = Json::array();
  for (const auto& column : columns)
    heads.push_back({{"key", column.key}, {"title", column.title}});
  heads.push_back({{"key", "source"}, {"title", "source"}});
  json_["tables"].push_back({{"name", std::move(name)},
                             {"title", std::move(title)},
                             {"columns", std::move(heads)},
                             {"rows", std::move(rows)}});
}

void Section::picture(std::string name, std::string title, std::string alt, Json spec) {
  spec["description"] = title + ". " + alt;
  json_["pictures"].push_back({{"name", std::move(name)},
                               {"title", std::move(title)},
                               {"alt", std::move(alt)},
                               {"spec", std::move(spec)}});
}

bool Section::empty() const {
  return json_["text"].empty() && json_["commands"].empty() && json_["pictures"].empty() &&
         json_["tables"].empty();
}

Json Section::json() const {
  return json_;
}

Json picture_of(Json rows, int height, const Json& view) {
  Json spec = {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
               {"width", "container"},
               {"height", height},
               {"autosize", {{"type", "fit-x"}, {"contains", "padding"}}},
               {"data", {{"values", std::move(rows)}}}};
  spec.update(view);
  if (const auto layers = spec.find("layer"); layers != spec.end()) {
    auto kept = Json::array();
    for (auto& layer : *layers) {
      const auto& own = at(layer, {"data", "values"});
      if (!own.is_array() || !own.empty()) kept.push_back(std::move(layer));
    }
    *layers = std::move(kept);
  }
  return spec;
}

Json field(std::string_view name, std::string_view type, std::string_view title) {
  return {{"field", name}, {"type", type}, {"title", title.empty() ? Json() : Json(title)}};
}

Json room_beside(double longest) {
  constexpr double kRoom = 1.25;
  return longest > 0 ? Json{{"domainMax", kRoom * longest}} : Json::object();
}

Json tooltip(const std::vector<Section::Column>& columns) {
  auto list = Json::array();
  for (const auto& column : columns) {
    list.push_back({{"field", column.key}, {"title", column.title}});
  }
  list.push_back({{"field", "source"}, {"title", "source"}});
  return list;
}

std::vector<std::string> systems_of(const Json& evidence) {
  std::vector<std::string> systems;
  for (const auto& system : list_at(evidence, {"options", "systems"})) {
    if (system.is_string()) systems.push_back(system.get<std::string>());
  }
  return systems;
}

const Json& document_of(const Json& evidence, std::string_view name) {
  return at(evidence, {"documents", name});
}

}  // namespace dsaperf::report::integration
