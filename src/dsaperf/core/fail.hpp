#pragma once

#include "dsaperf/core/error.hpp"

#include <fmt/format.h>

#include <source_location>
#include <utility>

namespace dsaperf {

// A compile-time checked format string that remembers where it was written.
template <typename... Args>
struct LocatedFormat {
  template <typename Text>
  // NOLINTNEXTLINE(google-explicit-constructor): call sites read as fmt's
  consteval LocatedFormat(const Text& text,
                          std::source_location location = std::source_location::current())
      : format(text), where(location) {}

  fmt::format_string<Args...> format;
  std::source_location where;
};

// return fail(Errc::kParse, "row {}: latency {} us is not positive", row, latency_us);
// Not for files that nvcc compiles: fmt's checked calls do not build there.
template <typename... Args>
tl::unexpected<Error> fail(Errc code, LocatedFormat<std::type_identity_t<Args>...> text,
                           Args&&... args) {
  return tl::unexpected<Error>(
      Error(code, fmt::format(text.format, std::forward<Args>(args)...), text.where));
}

}  // namespace dsaperf
