#include "dsaperf/trace/importers/text_tables.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/split.hpp"
#include "dsaperf/core/trimmed.hpp"
#include "dsaperf/trace/importers/json_events.hpp"

#include <simdjson.h>

#include <algorithm>
#include <vector>

namespace dsaperf::trace {
namespace {

namespace od = simdjson::ondemand;

// A table of kernels has a name, calls and a time at least.
constexpr std::size_t kFewestColumns = 3;

struct Span {
  std::size_t begin;  // in characters: names are UTF-8
  std::size_t end;
};

// The columns under a rule of dashes; none where the line is no rule.
std::vector<Span> columns_under(std::string_view line) {
  std::vector<Span> columns;
  if (trimmed(line).empty() || line.find_first_not_of("- \r") != std::string_view::npos) {
    return columns;
  }
  for (std::size_t at = line.find('-'); at < line.size();) {
    const auto end = std::min(line.find_first_not_of('-', at), line.size());
    columns.push_back({at, end});
    at = std::min(line.find('-', end), line.size());
  }
  if (columns.size() < kFewestColumns) columns.clear();
  return columns;
}

// The byte at which a character begins.
std::size_t byte_of(std::string_view line, std::size_t character) {
  std::size_t at = 0;
  while (at < line.size() && character > 0) {
    ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80) ++at;
    --character;
  }
  return at;
}

// Between two columns lies a space at least, which is where a row is cut.
void add_row(CsvWriter& csv, std::string_view line, const std::vector<Span>& columns) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto begin = byte_of(line, i == 0 ? 0 : columns[i - 1].end);
    const auto end = i + 1 == columns.size() ? line.size() : byte_of(line, columns[i].end);
    csv.field(trimmed(line.substr(begin, end - begin)));
  }
  csv.end_row();
}

std::string columns_as_csv(std::string_view text) {
  CsvWriter csv;
  const auto lines = split(text, '\n');
  std::vector<Span> columns;  // of the table that the line is in
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto next = i + 1 < lines.size() ? columns_under(lines[i + 1]) : std::vector<Span>();
    if (!next.empty()) columns = next;
    if (trimmed(lines[i]).empty()) columns.clear();
    if (columns.empty()) {
      csv.field(trimmed(lines[i]));
      csv.end_row();
    } else if (columns_under(lines[i]).empty()) {
      add_row(csv, lines[i], columns);
    } else {
      csv.field("");  // the rule: a line of its own, without a row
      csv.end_row();
    }
  }
  return csv.text();
}

std::string tabs_as_csv(std::string_view text) {
  CsvWriter csv;
  for (auto line : split(text, '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (const auto field : split(line, '\t')) csv.field(field);
    csv.end_row();
  }
  return csv.text();
}

Result<std::string> rows_as_csv(std::string_view text) {
  DSAPERF_TRY_ASSIGN(auto bytes, ByteReader::over(text));
  DSAPERF_TRY_ASSIGN(auto rows, JsonSplitter::over(std::move(bytes), ""));
  od::parser parser;
  CsvWriter csv;
  std::vector<std::string> header;
  for (std::size_t number = 1;; ++number) {
    DSAPERF_TRY_ASSIGN(const auto kind, rows.next());
    if (kind == JsonSplitter::Kind::kEnd) return csv.text();
    od::document document;
    od::object row;
    if (parser.iterate(rows.value().data(), rows.value().size(), rows.value_capacity())
            .get(document) ||
        document.get_object().get(row)) {
      return fail(Errc::kParse, "row {} is no object", number);
    }
    std::vector<std::string> names;
    std::vector<std::string> values;
    for (auto field : row) {
      std::string_view name;
      std::string_view value;
      od::value json;
      if (field.unescaped_key().get(name) || field.value().get(json)) {
        return fail(Errc::kParse, "row {} is no object of texts and numbers", number);
      }
      names.emplace_back(name);
      if (json.get_string().get(value)) value = json.raw_json_token();
      values.emplace_back(trimmed(value));
    }
    if (names != header) {
      for (const auto& name : names) csv.field(name);
      csv.end_row();
      header = std::move(names);
    }
    for (const auto& value : values) csv.field(value);
    csv.end_row();
  }
}

}  // namespace

TextForm form_of(std::string_view front) {
  if (trimmed(front).starts_with('[')) {
    // Events of a trace have a phase; rows of a table have columns with a unit.
    const bool events = front.find("\"ph\"") != std::string_view::npos;
    const bool rows = front.find("(ns)\"") != std::string_view::npos ||
                      front.find("(us)\"") != std::string_view::npos ||
                      front.find("(ms)\"") != std::string_view::npos ||
                      front.find("\"Instances\"") != std::string_view::npos;
    return rows && !events ? TextForm::kJsonRows : TextForm::kCsv;
  }
  for (const auto line : split(front, '\n')) {
    if (!columns_under(line).empty()) return TextForm::kColumns;
    // Fields of a CSV may end in a tab; a header of tabs has no comma.
    const auto tabs = static_cast<std::size_t>(std::ranges::count(line, '\t'));
    if (tabs + 1 >= kFewestColumns && line.find(',') == std::string_view::npos) {
      return TextForm::kTabs;
    }
  }
  return TextForm::kCsv;
}

Result<std::string> as_csv(std::string_view text, TextForm form) {
  switch (form) {
    case TextForm::kColumns:
      return columns_as_csv(text);
    case TextForm::kTabs:
      return tabs_as_csv(text);
    case TextForm::kJsonRows:
      return rows_as_csv(text);
    case TextForm::kCsv:
      break;
  }
  return std::string(text);
}

}  // namespace dsaperf::trace
