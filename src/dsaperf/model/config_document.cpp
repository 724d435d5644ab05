#include "dsaperf/model/config_document.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>

namespace dsaperf::model {
namespace {

using nlohmann::json;

struct Place {
  std::size_t line = 1;
  std::size_t column = 1;
};

Place place_of(std::string_view text, std::size_t offset) {
  const auto before = text.substr(0, std::min(offset, text.size()));
  const auto line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')) + 1,
          before.size() - line_start + 1};
}

// Calls `visit(offset)` for every byte outside of strings, until it returns false.
template <typename Visit>
void outside_strings(std::string_view text, Visit visit) {
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      if (text[i] == '\\') {
        ++i;
      } else if (text[i] == '"') {
        in_string = false;
      }
    } else if (text[i] == '"') {
      in_string = true;
    } else if (!visit(i)) {
      return;
    }
  }
}

// Before the parser sees it: its own stack grows with the depth.
Result<void> check_depth(std::string_view text) {
  constexpr int kMaxDepth = 100;
  int depth = 0;
  std::size_t too_deep = std::string_view::npos;
  outside_strings(text, [&](std::size_t i) {
    if (text[i] == '[' || text[i] == '{') ++depth;
    if (text[i] == ']' || text[i] == '}') --depth;
    if (depth > kMaxDepth) too_deep = i;
    return depth <= kMaxDepth;
  });
  if (too_deep == std::string_view::npos) return {};
  const auto place = place_of(text, too_deep);
  return fail(Errc::kParse, "line {}, column {}: nested deeper than {} levels", place.line,
              place.column, kMaxDepth);
}

// The text with NaN, Infinity and -Infinity replaced by null.
std::string without_non_numbers(std::string_view text, std::vector<std::string>& warnings) {
  std::string result;
  std::size_t copied = 0;
  std::size_t count = 0;
  outside_strings(text, [&](std::size_t i) {
    if (i < copied) return true;
    for (const std::string_view value : {"-Infinity", "Infinity", "NaN"}) {
      if (text.substr(i, value.size()) != value) continue;
      result += text.substr(copied, i - copied);
      result += "null";
      copied = i + value.size();
      constexpr std::size_t kMaxWarnings = 10;
      if (++count <= kMaxWarnings) {
        const auto place = place_of(text, i);
        warnings.push_back(
            fmt::format("line {}, column {}: {} is not JSON (Python writes it), read as null",
                        place.line, place.column, value));
      }
      break;
    }
    return true;
  });
  result += text.substr(copied);
  return result;
}

tl::unexpected<Error> not_json(std::string_view text, const json::parse_error& error) {
  // The parser counts the byte that it stopped at, from 1.
  const std::size_t stop = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
  const auto place = place_of(text, stop);
  if (stop >= text.size()) {
    return fail(Errc::kParse, "line {}, column {}: ends in the middle of the JSON document",
                place.line, place.column);
  }
  return fail(Errc::kParse, "line {}, column {}: not JSON", place.line, place.column);
}

}  // namespace

Result<json> parse_document(std::string_view text, std::vector<std::string>& warnings) {
  DSAPERF_TRY(check_content(text));
  DSAPERF_TRY(check_depth(text));
  if (text.starts_with("\xef\xbb\xbf")) {
    warnings.emplace_back("starts with a byte-order mark, which JSON does not have: skipped");
  }
  std::string repaired;
  // Seldom: a search is cheaper than a copy.
  if (text.find("NaN") != text.npos || text.find("Infinity") != text.npos) {
    repaired = without_non_numbers(text, warnings);
    text = repaired;
  }
  try {
    auto document = json::parse(text);
    if (!document.is_object()) {
      return fail(Errc::kParse, "a JSON object is expected, not this: {}", document.type_name());
    }
    return document;
  } catch (const json::parse_error& error) {
    return not_json(text, error);
  } catch (const json::exception& error) {
    return fail(Errc::kParse, "not JSON: {}", error.what());
  }
}

}  // namespace dsaperf::model
