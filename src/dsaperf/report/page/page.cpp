#include "dsaperf/report/integration.hpp"
#include "dsaperf/report/integration/section.hpp"
#include "dsaperf/report/page/assets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace dsaperf::report {
namespace {

using namespace integration;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

// JSON inside a script element: nothing in it may look like the element's end.
std::string inside_script(const Json& json) {
  std::string result;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<') {
      result += "\\u003c";
    } else {
      result += c;
    }
  }
  return result;
}

// Four digits; large numbers whole, in groups of three.
std::string number_text(double number) {
  constexpr double kWhole = 1e4;
  const bool whole = number == std::floor(number) || std::abs(number) >= kWhole;
  if (!whole || !(std::abs(number) < 1e15)) return fmt::format("{:.4g}", number);
  auto text = fmt::format("{:.0f}", number);
  if (std::abs(number) < kWhole) return text;
  const auto first = static_cast<std::ptrdiff_t>(number < 0 ? 1 : 0);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > first; at -= 3) {
    text.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return text;
}

void write_cell(const Json& value, const std::string& key, const std::string& source,
                std::string& html) {
  if (value.is_number()) {
    html += fmt::format("<td class=\"number\" title=\"{}\">{}</td>", escaped(source),
                        number_text(value.get<double>()));
    return;
  }
  const auto text = value.is_string() ? value.get<std::string>()
                    : value.is_null() ? std::string()
                                      : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  html += fmt::format("<td{}>{}</td>", key == "source" ? " class=\"source\"" : "", escaped(text));
}

void write_table(const Json& table, std::string& html) {
  const auto title = escaped(text_at(table, {"title"}));
  const auto& columns = list_at(table, {"columns"});
  const auto& rows = list_at(table, {"rows"});
  html += fmt::format(
      "<details id=\"table-{}\"><summary>{} ({} row{})</summary>\n"
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table>\n<caption "
      "class=\"unseen\">{}</caption><thead><tr>",
      escaped(text_at(table, {"name"})), title, rows.size(), rows.size() == 1 ? "" : "s", title,
      title);
  for (const auto& column : columns) {
    const auto key = text_at(column, {"key"});
    const bool numbers = std::any_of(rows.begin(), rows.end(),
                                     [&](const Json& row) { return at(row, {key}).is_number(); });
    html += fmt::format("<th scope=\"col\"{}>{}</th>", numbers ? " class=\"number\"" : "",
                        escaped(text_at(column, {"title"})));
  }
  html += "</tr></thead>\n<tbody>\n";
  constexpr std::size_t kMostRows = 300;
  for (std::size_t i = 0; i < std::min(kMostRows, rows.size()); ++i) {
    const auto& row = rows[i];
    const auto source = text_at(row, {"source"});
    html += "<tr>";
    for (const auto& column : columns) {
      const auto key = text_at(column, {"key"});
      write_cell(at(row, {key}), key, source, html);
    }
    html += "</tr>\n";
  }
  html += "</tbody></table></div>";
  if (rows.size() > kMostRows) {
    html += fmt::format("<p class=\"under\">{} more rows in tables/{}.csv</p>",
                        rows.size() - kMostRows, escaped(text_at(table, {"name"})));
  }
  html += "</details>\n";
}

void write_picture(const Json& picture, std::string& html) {
  html += fmt::format(
      "<figure><figcaption>{}<span>{}</span></figcaption>\n"
      "<div class=\"picture\" id=\"picture-{}\"></div></figure>\n",
      escaped(text_at(picture, {"title"})), escaped(text_at(picture, {"alt"})),
      escaped(text_at(picture, {"name"})));
}

// A question, linked to the section that says more; the question alone where that was left out.
std::string question_of(const Json& document, const Json& answer) {
  constexpr std::pair<std::string_view, std::string_view> kSections[] = {
      {"model", "model"}, {"right", "run"},    {"align", "align"},
      {"speed", "speed"}, {"limits", "speed"}, {"deploy", "deploy"}};
  const auto question = escaped(text_at(answer, {"question"}));
  const auto name = text_at(answer, {"name"});
  for (const auto& [of_answer, section] : kSections) {
    if (name != of_answer) continue;
    for (const auto& each : list_at(document, {"sections"})) {
      if (text_at(each, {"name"}) == section) {
        return fmt::format("<a href=\"#{}\">{}</a>", section, question);
      }
    }
  }
  return question;
}

void write_answers(const Json& document, std::string& html) {
  html +=
      "<h2 class=\"unseen\" id=\"answers-title\">In short</h2>\n"
      "<dl class=\"answers\" id=\"answers\" aria-labelledby=\"answers-title\">\n";
  for (const auto& answer : list_at(document, {"answers"})) {
    const auto source = escaped(text_at(answer, {"source"}));
    html += fmt::format(
        "<div class=\"{}\" title=\"{}\"><dt>{}</dt><dd class=\"answer\">{}</dd>"
        "<dd class=\"detail\">{}</dd><dd class=\"source\">{}</dd></div>\n",
        escaped(text_at(answer, {"tone"})), source, question_of(document, answer),
        escaped(text_at(answer, {"answer"})), escaped(text_at(answer, {"detail"})), source);
  }
  html += "</dl>\n";
}

void write_head(const std::string& title, std::string& html) {
  // 'unsafe-eval': Vega compiles its expressions. Nothing can be loaded from anywhere.
  html += fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}: dsaperf</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n",
      title);
  html += page::style();
  html += "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the answers</a>\n";
}

}  // namespace

std::string integration_page(const nlohmann::ordered_json& document) {
  const auto& sections = list_at(document, {"sections"});
  std::string html;
  write_head(escaped(text_at(document, {"model"})), html);
  html += fmt::format(
      "<header><h1>{}</h1>\n<p class=\"under\">{}<span class=\"screen\">; hover over a number to "
      "see where it comes from, or read the last column of its table</span></p>\n"
      "<nav aria-label=\"Sections\"><ul>\n",
      escaped(text_at(document, {"model"})), escaped(text_at(document, {"program"})));
  for (const auto& section : sections) {
    html += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", escaped(text_at(section, {"name"})),
                        escaped(text_at(section, {"title"})));
  }
  html += "</ul></nav></header>\n<main id=\"main\">\n";
  write_answers(document, html);
  auto pictures = Json::array();
  for (const auto& section : sections) {
    const auto name = escaped(text_at(section, {"name"}));
    html +=
        fmt::format("<section id=\"{}\" aria-labelledby=\"{}-title\"><h2 id=\"{}-title\">{}</h2>\n",
                    name, name, name, escaped(text_at(section, {"title"})));
    for (const auto& said : list_at(section, {"text"})) {
      html += fmt::format("<p title=\"{}\">{}</p>\n", escaped(text_at(said, {"source"})),
                          escaped(text_at(said, {"line"})));
    }
    for (const auto& command : list_at(section, {"commands"})) {
      html +=
          fmt::format("<p>{}:</p><pre><code>{}</code></pre>\n",
                      escaped(text_at(command, {"title"})), escaped(text_at(command, {"line"})));
    }
    for (const auto& picture : list_at(section, {"pictures"})) {
      write_picture(picture, html);
      pictures.push_back({{"name", at(picture, {"name"})}, {"spec", at(picture, {"spec"})}});
    }
    for (const auto& table : list_at(section, {"tables"})) write_table(table, html);
    html += "</section>\n";
  }
  if (const auto& warnings = list_at(document, {"warnings"}); !warnings.empty()) {
    html +=
        "<section aria-labelledby=\"warnings-title\"><h2 id=\"warnings-title\">Warnings</h2><ul>\n";
    for (const auto& warning : warnings) {
      if (warning.is_string()) html += "<li>" + escaped(warning.get<std::string>()) + "</li>\n";
    }
    html += "</ul></section>\n";
  }
  html += "</main>\n<script type=\"application/json\" id=\"pictures\">" + inside_script(pictures) +
          "</script>\n<script>";
  html += page::vega();
  html += "</script>\n<script>\n";
  html += page::script();
  html += "</script>\n</body>\n</html>\n";
  return html;
}

}  // namespace dsaperf::report
