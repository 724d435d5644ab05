#include "dsaperf/capi/call.hpp"

#include <algorithm>

namespace dsaperf::capi {

dsaperf_status status_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return DSAPERF_INVALID_ARGUMENT;
    case Errc::kNotFound:
      return DSAPERF_NOT_FOUND;
    case Errc::kParse:
      return DSAPERF_PARSE;
    case Errc::kUnsupported:
      return DSAPERF_UNSUPPORTED;
    case Errc::kIo:
      return DSAPERF_IO;
    case Errc::kOutOfMemory:
      return DSAPERF_OUT_OF_MEMORY;
    case Errc::kCuda:
      return DSAPERF_CUDA;
  }
  return DSAPERF_INTERNAL;
}

dsaperf_status report(dsaperf_status status, std::string_view message, dsaperf_error* error) {
  if (error == nullptr) return status;
  const std::size_t length = std::min(message.size(), sizeof error->message - 1);
  std::memcpy(error->message, message.data(), length);
  error->message[length] = '\0';
  return status;
}

Result<void> check_extents(const char* name, std::initializer_list<Extent> extents) {
  constexpr std::int64_t kLargest = std::int64_t{1} << 40;
  for (const auto& [count, stride] : extents) {
    if (count < 0 || stride < 0)
      return fail(Errc::kInvalidArgument, "{}: a size or stride is negative ({}, {})", name, count,
                  stride);
    if (count > kLargest || stride > kLargest ||
        (stride > 0 && count > (std::int64_t{1} << 60) / stride))
      return fail(Errc::kInvalidArgument,
                  "{}: a size or stride is beyond 2^40, or what both span beyond 2^60 ({}, {})",
                  name, count, stride);
  }
  return {};
}

}  // namespace dsaperf::capi

extern "C" {

int dsaperf_abi(void) {
  return DSAPERF_ABI;
}

const char* dsaperf_version(void) {
  return DSAPERF_VERSION;
}

const char* dsaperf_status_name(dsaperf_status status) {
  switch (status) {
    case DSAPERF_OK:
      return "ok";
    case DSAPERF_INVALID_ARGUMENT:
      return "invalid_argument";
    case DSAPERF_NOT_FOUND:
      return "not_found";
    case DSAPERF_PARSE:
      return "parse";
    case DSAPERF_UNSUPPORTED:
      return "unsupported";
    case DSAPERF_IO:
      return "io";
    case DSAPERF_OUT_OF_MEMORY:
      return "out_of_memory";
    case DSAPERF_CUDA:
      return "cuda";
    case DSAPERF_INTERNAL:
      return "internal";
  }
  return "unknown";
}

}  // extern "C"
