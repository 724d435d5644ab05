#pragma once

#include <string_view>

namespace dsaperf {

// Without blanks at both ends: spaces, tabs, and the CR of a line that ended in CR LF.
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace dsaperf
