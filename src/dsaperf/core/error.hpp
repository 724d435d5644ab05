#pragma once

#include <tl/expected.hpp>

#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace dsaperf {

// What kind of failure, for programs. The sentence for people is Error::message().
enum class Errc {
  kInvalidArgument,  // the caller's values contradict each other or the documented limits
  kNotFound,         // a file, a table, a row or a device that is not there
  kParse,            // foreign bytes that do not follow their format
  kUnsupported,      // well-formed, but not something this program can do
  kIo,               // the operating system refused
  kOutOfMemory,
  kCuda,
};

// Stable name of a code ("invalid_argument", ...), used in JSON and by the bindings.
std::string_view name(Errc code);

// A failure as a value: a code for programs, a sentence for people, and where it was first
// reported. Each layer that passes it on may put its own words in front: "file.csv: row 12: ...".
class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message,
        std::source_location where = std::source_location::current())
      : code_(code), message_(std::move(message)), where_(where) {}

  Errc code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::source_location& where() const { return where_; }

  Error with_context(std::string_view context) && {
    message_ = std::string(context) + ": " + message_;
    return std::move(*this);
  }

 private:
  Errc code_;
  std::string message_;
  std::source_location where_;
};

template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace dsaperf

// DSAPERF_TRY(expression): returns the error of a Result from the enclosing function, drops a
// value.
#define DSAPERF_TRY(...)                                                            \
  do {                                                                              \
    if (auto dsaperf_result = (__VA_ARGS__); !dsaperf_result)                       \
      return ::tl::unexpected<::dsaperf::Error>(std::move(dsaperf_result).error()); \
  } while (false)

// DSAPERF_TRY_ASSIGN(const auto x, expression): the same, and declares x with the value.
#define DSAPERF_TRY_ASSIGN(declaration, ...) \
  DSAPERF_TRY_ASSIGN_AS(DSAPERF_CONCAT(dsaperf_result_, __LINE__), declaration, __VA_ARGS__)
#define DSAPERF_TRY_ASSIGN_AS(result, declaration, ...)                              \
  auto result = (__VA_ARGS__);                                                       \
  if (!result) return ::tl::unexpected<::dsaperf::Error>(std::move(result).error()); \
  declaration = *std::move(result)
#define DSAPERF_CONCAT(a, b) DSAPERF_CONCAT_EXPANDED(a, b)
#define DSAPERF_CONCAT_EXPANDED(a, b) a##b
