#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/fail.hpp"
#include <dsaperf/dsaperf.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>

// The edge of the C interface: structs read by their size, errors written, nothing thrown.
namespace dsaperf::capi {

dsaperf_status status_of(Errc code);
dsaperf_status report(dsaperf_status status, std::string_view message, dsaperf_error* error);

// Runs `work`, which returns Result<void>; what it fails with or throws becomes a status.
template <typename Work>
dsaperf_status guarded(dsaperf_error* error, const Work& work) noexcept {
  try {
    const Result<void> result = work();
    if (!result) return report(status_of(result.error().code()), result.error().message(), error);
    return report(DSAPERF_OK, "", error);
  } catch (const std::bad_alloc&) {
    return report(DSAPERF_OUT_OF_MEMORY, "out of host memory", error);
  } catch (const std::length_error&) {
    return report(DSAPERF_OUT_OF_MEMORY, "out of host memory", error);
  } catch (const std::exception& exception) {
    return report(DSAPERF_INTERNAL, exception.what(), error);
  } catch (...) {
    return report(DSAPERF_INTERNAL, "unknown exception", error);
  }
}

// A caller's struct as this library knows it.
template <typename T>
Result<T> read(const T* given, const char* name) {
  if (given == nullptr) return fail(Errc::kInvalidArgument, "{} is null", name);
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof(T))
    return fail(Errc::kInvalidArgument, "{}: struct_size {} is not {}: use DSAPERF_INIT", name,
                size, sizeof(T));
  if (size > sizeof(T))
    return fail(Errc::kUnsupported, "{}: struct_size {}: this library knows {} bytes of it", name,
                size, sizeof(T));
  T copy;
  std::memcpy(&copy, given, sizeof copy);
  return copy;
}

// Fills a caller's struct, as much of it as there is; struct_size stays.
template <typename T>
Result<void> write(const T& value, T* target, const char* name) {
  DSAPERF_TRY_ASSIGN(const T before, read(static_cast<const T*>(target), name));
  *target = value;
  target->struct_size = before.struct_size;
  return {};
}

// Counts with the distance between their members, in elements: none negative, none so large that
// an offset leaves 62 bits.
struct Extent {
  std::int64_t count;
  std::int64_t stride = 1;
};
Result<void> check_extents(const char* name, std::initializer_list<Extent> extents);

// An enum passed as int32_t.
template <typename Enum>
Result<Enum> enumerator(std::int32_t value, std::int32_t count, const char* name) {
  if (value < 0 || value >= count)
    return fail(Errc::kInvalidArgument, "{} {} is not 0 ... {}", name, value, count - 1);
  return static_cast<Enum>(value);
}

}  // namespace dsaperf::capi
