#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/fail.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace dsaperf::python {

// The one exception that leaves a binding: module.cpp turns it into dsaperf.Error.
class Failure : public std::runtime_error {
 public:
  Failure(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}

  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// The value of a Result, or its error as a Failure.
template <typename T>
T take(Result<T> result) {
  if (!result) throw Failure(std::string(name(result.error().code())), result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(std::string(name(Errc::kInvalidArgument)),
                fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dsaperf::python
