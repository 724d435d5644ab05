#pragma once

#include <string>
#include <string_view>

namespace dsaperf {

// How a line that is too long goes on: `separator` ends each piece (the backslash of a command),
// `indent` begins the next.
struct Continuation {
  std::string_view separator = "";
  std::string_view indent = "";
};

// Lines of `text` that are wider than `width` columns, broken at spaces. A word that is wider stays
// whole, so that a path can be copied. Text with escape sequences is wider than it looks: it is
// coloured afterwards.
std::string wrapped(std::string_view text, int width, Continuation continuation = {});

}  // namespace dsaperf
