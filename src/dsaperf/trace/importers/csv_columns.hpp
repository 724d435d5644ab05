#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::trace {

// What a column of a kernel table holds.
enum class Role {
  kName,
  kCalls,
  kTotal,
  kAverage,
  kMedian,
  kMin,
  kMax,
  kStddev,
  kStart,
  kEnd,
  kDuration,
  kDevice,
  kStream,
  kCategory,  // nsys cuda_gpu_sum: CUDA_KERNEL or MEMORY_OPER; nvprof: GPU activities or API calls
  kMetricName,
  kMetricUnit,
  kMetricValue,
  kId,
  kProcess,  // ncu numbers the launches of each process
  kGrid,
  kBlock,
  kCapability,
};
inline constexpr std::size_t kRoles = 22;

// The columns of a header by role, with the factor that turns their numbers into nanoseconds.
struct Columns {
  std::array<std::optional<std::size_t>, kRoles> at;
  std::array<double, kRoles> to_ns;
  std::array<bool, kRoles> unit_known{};  // false: the header names no unit, ns is assumed
  std::vector<std::string> header;

  std::optional<std::size_t> operator[](Role role) const {
    return at[static_cast<std::size_t>(role)];
  }
  bool has(Role role) const { return (*this)[role].has_value(); }
};

Columns columns_of(const std::vector<std::string_view>& header);

// Nanoseconds of one unit of time, as tools write it: ns, us, usecond, msec, s, ...; empty for
// anything that is not a time.
std::optional<double> nanoseconds_per(std::string_view unit);

// A number as tools print it for people: thousands may be separated by commas.
std::optional<double> parse_grouped(std::string_view text);

enum class TableKind { kNone, kSummary, kTimeline, kNcuDetails, kNcuRaw, kLaunches };
TableKind kind_of(const Columns& columns);

}  // namespace dsaperf::trace
