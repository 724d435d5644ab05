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

// Before the parser sees it: its own stack grows with the depth.
Result<void> check_depth(std::string_view text) {
  constexpr int kMaxDepth = 100;
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) {
        const auto place = place_of(text, i);
        return fail(Errc::kParse, "line {}, column {}: nested deeper than {} levels", place.line,
                    place.column, kMaxDepth);
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return {};
}

tl::unexpected<Error> not_json(std::string_view text, const json::parse_error& error) {
  // The parser counts the byte that it stopped at, from 1.
  const std::size_t stop = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
  const auto place = place_of(text, stop);
  // It stops one letter into a word it does not know.
  const auto word = text.substr(stop >= 10 ? stop - 10 : 0, 20);
  for (const std::string_view value : {"NaN", "Infinity"}) {
    if (word.find(value) == std::string_view::npos) continue;
    return fail(Errc::kParse,
                "line {}, column {}: {} is not JSON (Python writes it); put null or a number there",
                place.line, place.column, value);
  }
  if (stop >= text.size()) {
    return fail(Errc::kParse, "line {}, column {}: ends in the middle of the JSON document",
                place.line, place.column);
  }
  return fail(Errc::kParse, "line {}, column {}: not JSON", place.line, place.column);
}

}  // namespace

Result<json> parse_document(std::string_view text) {
  DSAPERF_TRY(check_content(text));
  DSAPERF_TRY(check_depth(text));
  try {
    auto document = json::parse(text);
    if (!document.is_object()) {
      return fail(Errc::kParse, "a JSON object is expected, this is a {}", document.type_name());
    }
    return document;
  } catch (const json::parse_error& error) {
    return not_json(text, error);
  } catch (const json::exception& error) {
    return fail(Errc::kParse, "not JSON: {}", error.what());
  }
}

}  // namespace dsaperf::model
