#include "dsaperf/core/csv.hpp"
#include "dsaperf/report/integration.hpp"
#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::report {
namespace {

using namespace integration;

// Each warning once, behind the documents that have it.
Json warnings_of(const Json& evidence) {
  nlohmann::ordered_map<std::string, std::vector<std::string>> names;
  for (const auto& [name, document] : at(evidence, {"documents"}).items()) {
    for (const auto& warning : list_at(document, {"warnings"})) {
      if (!warning.is_string()) continue;
      auto& of_warning = names[warning.get<std::string>()];
      if (of_warning.empty() || of_warning.back() != name) of_warning.push_back(name);
    }
  }
  auto warnings = Json::array();
  for (const auto& [warning, of_warning] : names) {
    warnings.push_back(fmt::format("{}: {}", fmt::join(of_warning, ", "), warning));
  }
  return warnings;
}

Section phases_section(const Json& evidence) {
  Section section("phases", "How this was made");
  auto rows = Json::array();
  for (const auto& phase : list_at(evidence, {"phases"})) {
    for (const auto& command : list_at(phase, {"commands"})) {
      rows.push_back({{"phase", at(phase, {"name"})},
                      {"command", at(command, {"line"})},
                      {"state", at(command, {"state"})},
                      {"seconds", at(command, {"seconds"})},
                      {"error", at(command, {"error"})},
                      {"source", "this run"}});
    }
    if (list_at(phase, {"commands"}).empty()) {
      rows.push_back({{"phase", at(phase, {"name"})},
                      {"command", ""},
                      {"state", at(phase, {"state"})},
                      {"seconds", nullptr},
                      {"error", at(phase, {"reason"})},
                      {"source", "this run"}});
    }
  }
  section.table("phases", "Commands, each of which can be run alone",
                {{"phase", "phase"},
                 {"command", "command"},
                 {"state", "state"},
                 {"seconds", "s"},
                 {"error", "why not"}},
                std::move(rows));
  return section;
}

std::string plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return format_double(value.get<double>());
  return value.is_null() ? std::string() : value.dump();
}

// Four digits, no exponent where it can be read without one.
std::string rounded(const Json& value) {
  if (!value.is_number_float()) return plain(value);
  const auto number = value.get<double>();
  if (std::abs(number) >= 1e4 && std::abs(number) < 1e15) return fmt::format("{:.0f}", number);
  return fmt::format("{:.4g}", number);
}

std::string markdown_cell(const Json& value) {
  std::string text;
  for (const char c : rounded(value)) {
    if (c == '|') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text;
}

void table_markdown(const Json& table, std::string& text) {
  constexpr std::size_t kMostRows = 40;  // the rest is in the CSV beside
  text += fmt::format("\n**{}**\n\n|", text_at(table, {"title"}));
  std::string rule = "|";
  for (const auto& column : list_at(table, {"columns"})) {
    text += " " + text_at(column, {"title"}) + " |";
    rule += " --- |";
  }
  text += "\n" + rule + "\n";
  const auto& rows = list_at(table, {"rows"});
  for (std::size_t i = 0; i < std::min(kMostRows, rows.size()); ++i) {
    text += "|";
    for (const auto& column : list_at(table, {"columns"})) {
      text += " " + markdown_cell(at(rows[i], {text_at(column, {"key"})})) + " |";
    }
    text += "\n";
  }
  if (rows.size() > kMostRows) {
    text += fmt::format("\n{} more rows in tables/{}.csv\n", rows.size() - kMostRows,
                        text_at(table, {"name"}));
  }
}

}  // namespace

nlohmann::ordered_json integration_document(const nlohmann::ordered_json& evidence) {
  auto sections = Json::array();
  for (const auto& section :
       {model_section(evidence), run_section(evidence), align_section(evidence),
        speed_section(evidence), memory_section(evidence), deploy_section(evidence),
        accuracy_section(evidence), collect_section(evidence), phases_section(evidence)}) {
    if (!section.empty()) sections.push_back(section.json());
  }
  return {{"format", "dsaperf.integrate.1"},      {"model", at(evidence, {"model"})},
          {"program", at(evidence, {"program"})}, {"options", at(evidence, {"options"})},
          {"answers", answers(evidence)},         {"sections", std::move(sections)},
          {"phases", at(evidence, {"phases"})},   {"warnings", warnings_of(evidence)}};
}

nlohmann::ordered_json alignment_document(const nlohmann::ordered_json& align) {
  const Json evidence = {{"documents", {{"align", align}}}};
  auto answered = Json::array();
  for (auto& answer : answers(evidence)) {
    if (answer["name"] == "align") answered.push_back(std::move(answer));
  }
  return {{"format", "dsaperf.integrate.1"},
          {"model", "Alignment of two recordings"},
          {"program", "dsaperf align"},
          {"answers", std::move(answered)},
          {"sections", Json::array({align_section(evidence).json()})},
          {"warnings", warnings_of(evidence)}};
}

std::string integration_markdown(const nlohmann::ordered_json& document) {
  auto text = fmt::format("# {}\n", text_at(document, {"model"}));
  text += "\n| question | answer | source |\n| --- | --- | --- |\n";
  for (const auto& answer : list_at(document, {"answers"})) {
    text +=
        fmt::format("| {} | **{}** {} | {} |\n", text_at(answer, {"question"}),
                    markdown_cell(at(answer, {"answer"})), markdown_cell(at(answer, {"detail"})),
                    markdown_cell(at(answer, {"source"})));
  }
  for (const auto& section : list_at(document, {"sections"})) {
    text += fmt::format("\n## {}\n", text_at(section, {"title"}));
    for (const auto& said : list_at(section, {"text"})) {
      const auto source = text_at(said, {"source"});
      text += "\n" + text_at(said, {"line"}) + (source.empty() ? "" : " (" + source + ")") + "\n";
    }
    for (const auto& command : list_at(section, {"commands"})) {
      text += fmt::format("\n{}:\n\n```\n{}\n```\n", text_at(command, {"title"}),
                          text_at(command, {"line"}));
    }
    for (const auto& table : list_at(section, {"tables"})) table_markdown(table, text);
  }
  if (!list_at(document, {"warnings"}).empty()) text += "\n## Warnings\n\n";
  for (const auto& warning : list_at(document, {"warnings"})) text += "- " + plain(warning) + "\n";
  return text;
}

std::string integration_text(const nlohmann::ordered_json& document) {
  auto text = text_at(document, {"model"}) + "\n\n";
  for (const auto& answer : list_at(document, {"answers"})) {
    text += fmt::format("{:<21}{}\n", text_at(answer, {"question"}), text_at(answer, {"answer"}));
  }
  return text;
}

std::vector<NamedText> integration_tables(const nlohmann::ordered_json& document) {
  std::vector<NamedText> tables;
  for (const auto& section : list_at(document, {"sections"})) {
    for (const auto& table : list_at(section, {"tables"})) {
      CsvWriter csv;
      const auto& columns = list_at(table, {"columns"});
      for (const auto& column : columns) csv.field(text_at(column, {"key"}));
      csv.end_row();
      for (const auto& row : list_at(table, {"rows"})) {
        for (const auto& column : columns) {
          csv.field(plain(at(row, {text_at(column, {"key"})})));
        }
        csv.end_row();
      }
      tables.push_back({.name = text_at(table, {"name"}), .text = csv.text()});
    }
  }
  return tables;
}

}  // namespace dsaperf::report
