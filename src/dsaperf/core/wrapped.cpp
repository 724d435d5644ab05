#include "dsaperf/core/wrapped.hpp"

#include "dsaperf/core/text_table.hpp"

#include <algorithm>
#include <cstddef>

namespace dsaperf {
namespace {

// The last space at which a piece of at most `room` columns ends, else the first behind it.
std::size_t break_of(std::string_view line, int room) {
  const auto words = std::min(line.find_first_not_of(' '), line.size());
  auto best = std::string_view::npos;
  for (auto space = line.find(' ', words); space != std::string_view::npos;
       space = line.find(' ', space + 1)) {
    if (best != std::string_view::npos && text_width(line.substr(0, space)) > room) break;
    best = space;
  }
  return best;
}

void append_line(std::string& text, std::string_view line, int width, Continuation continuation) {
  int room = width;
  while (text_width(line) > room) {
    const auto end = break_of(line, room - text_width(continuation.separator));
    if (end == std::string_view::npos) break;
    text += line.substr(0, end);
    text += continuation.separator;
    text += '\n';
    text += continuation.indent;
    line.remove_prefix(end + 1);
    room = width - text_width(continuation.indent);
  }
  text += line;
}

}  // namespace

std::string wrapped(std::string_view text, int width, Continuation continuation) {
  std::string result;
  for (std::size_t start = 0; start <= text.size();) {
    const auto end = std::min(text.find('\n', start), text.size());
    if (start > 0) result += '\n';
    append_line(result, text.substr(start, end - start), width, continuation);
    start = end + 1;
  }
  return result;
}

}  // namespace dsaperf
