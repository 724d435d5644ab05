#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dsaperf::trace {

// Distinct strings of a trace (kernel names, operator labels, range names) by small number.
class NameTable {
 public:
  std::uint32_t intern(std::string_view name);
  const std::string& operator[](std::uint32_t id) const { return *names_[id]; }
  std::size_t size() const { return names_.size(); }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> names_;  // the keys of ids_, which do not move
};

inline constexpr std::uint32_t kNoName = std::numeric_limits<std::uint32_t>::max();
inline constexpr double kUnknownTime = std::numeric_limits<double>::quiet_NaN();

// One kernel, copy or fill on a GPU. Times are nanoseconds since Timeline::origin_ns, as doubles:
// tools report fractions of a nanosecond, and a double counts whole ones for 104 days.
struct Launch {
  double start_ns = 0;
  double duration_ns = 0;
  double launched_ns = kUnknownTime;  // when the host call that launched it returned
  std::int64_t stream = 0;
  std::int64_t process = 0;
  std::int64_t graph_node = 0;    // of a CUDA graph; 0: launched by itself
  std::uint32_t name = 0;         // in Timeline::names
  std::uint32_t op = kNoName;     // framework operator that launched it, with its inputs
  std::uint32_t range = kNoName;  // innermost host range (NVTX, annotation) around the launch
  std::int32_t device = 0;

  double end_ns() const { return start_ns + duration_ns; }
};

// A named interval that a program marked: NVTX range, record_function, profiler step.
struct Range {
  std::uint32_t name = 0;
  double start_ns = 0;
  double end_ns = 0;
  std::int64_t thread = 0;
};

// All calls of one kernel taken together, as summaries give them or as a timeline adds up to.
struct KernelSum {
  std::uint32_t name = 0;
  std::int64_t calls = 0;
  double total_ns = 0;
  double median_ns = kUnknownTime;  // absent in some summaries
  double min_ns = kUnknownTime;
  double max_ns = kUnknownTime;
  double stddev_ns = kUnknownTime;
};

enum class Format { kNsysCsv, kNsysSqlite, kChromeTrace, kNcuCsv, kKernelTable, kOwn };
std::string_view name(Format format);

// What a file says of itself, beyond its kernels. Absent where the format has no such thing.
struct SourceFacts {
  std::optional<std::int64_t> events;   // Chrome: entries of traceEvents
  std::optional<std::int64_t> rows;     // CSV: rows of the kernel table, header apart
  std::optional<std::int64_t> columns;  // CSV: fields of its header
  std::optional<std::string> report;    // nsys: which of its reports
  std::optional<std::string> schema;    // SQLite: version of the export's schema
  std::optional<std::string> product;   // SQLite: version of nsys
  std::optional<std::int64_t> kernel_columns;
  std::optional<std::int64_t> tables;
  std::optional<std::int64_t> nvtx_events;
  std::vector<std::int64_t> field_counts;  // CSV with ragged rows: numbers of fields, ascending
  std::optional<std::string> grid, block, compute_capability;  // ncu, of the first launch
  std::map<std::string, std::string> metrics;  // ncu, "name [unit]" of the first launch, as printed
};

// The GPU work of a recording, as an importer found it. Either `launches` (a timeline) or `sums` (a
// summary without times of day) is filled, never both. After sort(): launches by device, start.
struct Timeline {
  Format format = Format::kOwn;
  SourceFacts source;
  NameTable names;
  std::vector<Launch> launches;  // kernels
  std::vector<Launch> copies;    // memory copies
  std::vector<Launch> fills;     // memory sets
  std::vector<KernelSum> sums;
  std::vector<Range> ranges;
  std::vector<std::string> devices;  // product names, in the file's order
  std::int64_t origin_ns = 0;        // subtracted from every time
  std::int64_t bad_events = 0;       // left out: no duration, a negative one, no name
  std::vector<std::string> warnings;

  bool is_summary() const { return launches.empty() && !sums.empty(); }
  void sort();
};

// Totals of a timeline or summary.
struct Totals {
  std::int64_t kernels = 0;
  double total_ns = 0;  // sum of durations: more than the span where streams overlap
  double span_ns = 0;   // first start to last end of the kernels; 0 for a summary
  std::size_t unique_names = 0;
  std::size_t streams = 0;
  struct Device {
    std::int64_t kernels = 0;
    double total_ns = 0;
  };
  std::map<std::int32_t, Device> devices;
};
Totals totals(const Timeline& timeline);

// One entry a name, most time first (of equal times in the file's order of names).
std::vector<KernelSum> kernel_sums(const Timeline& timeline);

// The ranges of one name together, most time first.
struct NamedRanges {
  std::uint32_t name = 0;
  std::size_t count = 0;
  double total_ns = 0;
};
std::vector<NamedRanges> ranges_by_time(const Timeline& timeline);

// Keeps the launches that start in [from, to) after the first one, or that were launched inside a
// range whose name is `range`. Fails where nothing is left; of a range that is not there with those
// that are.
Result<void> trim_to_time(Timeline& timeline, double from_ns, double to_ns);
Result<void> trim_to_range(Timeline& timeline, std::string_view range);
Result<void> keep_device(Timeline& timeline, std::int32_t device);

// Quantile of unsorted values, linear between neighbours; NaN of none.
double quantile(std::vector<double> values, double q);

}  // namespace dsaperf::trace
