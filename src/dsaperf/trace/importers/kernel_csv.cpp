#include "dsaperf/trace/importers/kernel_csv.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/trace/importers/csv_columns.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace dsaperf::trace {
namespace {

constexpr std::size_t kLongestPreamble = 1000;

bool is_memory_operation(std::string_view name) {
  return name.starts_with("[CUDA mem") || name.starts_with("[memcpy") ||
         name.starts_with("[memset") || name.starts_with("Memcpy") || name.starts_with("Memset");
}

// What a tool says between tables.
bool is_remark(std::string_view first_field) {
  return first_field.starts_with("Processing [") || first_field.starts_with("Generating ") ||
         first_field.starts_with("Using existing") || first_field.starts_with("SKIPPED") ||
         first_field.starts_with("NOTICE") || first_field.starts_with("** ") ||
         first_field.starts_with(" ** ") || first_field.starts_with("==");
}

class CsvImporter {
 public:
  explicit CsvImporter(CsvReader csv) : csv_(std::move(csv)) {}

  Result<Timeline> read() {
    DSAPERF_TRY(find_table());
    timeline_.format = kind_ == TableKind::kNcuDetails || kind_ == TableKind::kNcuRaw
                           ? Format::kNcuCsv
                       : kind_ == TableKind::kLaunches ? Format::kKernelTable
                                                       : Format::kNsysCsv;
    timeline_.source.columns = static_cast<std::int64_t>(columns_.header.size());
    bool first = true;
    while (true) {
      auto more = csv_.next();
      if (!more) {
        const auto& error = more.error();
        return fail(error.code(),
                    "{}; the totals of the {} rows before it are not those of the run",
                    error.message(), rows_);
      }
      if (!*more || is_remark(csv_.field(0))) break;
      if (std::exchange(first, false) && take_units()) continue;
      if (starts_another_table()) break;
      ++rows_;
      field_counts_.insert(static_cast<std::int64_t>(csv_.fields().size()));
      row();
    }
    return finish();
  }

 private:
  Result<void> find_table() {
    bool skipped = false;
    bool any = false;
    std::string other;  // a header of a table without kernels
    for (std::size_t i = 0; i < kLongestPreamble; ++i) {
      DSAPERF_TRY_ASSIGN(const bool more, csv_.next());
      if (!more) break;
      any = true;
      const auto& fields = csv_.fields();
      const std::string_view start = csv_.field(0);
      if (start.starts_with("SKIPPED") ||
          start.find("does not contain CUDA kernel data") != std::string_view::npos) {
        skipped = true;
        continue;
      }
      if (fields.size() < 2) continue;
      columns_ = columns_of(fields);
      kind_ = kind_of(columns_);
      if (kind_ != TableKind::kNone) return {};
      if (other.empty() && fields.size() > 3) {
        for (const auto field : fields)
          other += fmt::format("{}{}", other.empty() ? "" : ",", field);
      }
    }
    if (skipped) {
      return fail(Errc::kNotFound,
                  "no kernel data: nsys skipped the report because nothing ran on the GPU");
    }
    if (!any) return fail(Errc::kParse, "empty file");
    if (!other.empty()) {
      constexpr std::size_t kShown = 80;
      return fail(
          Errc::kParse,
          "no header of a kernel table found; the columns \"{}{}\" have no kernel name with "
          "a number of calls or a duration",
          other.substr(0, kShown), other.size() > kShown ? "..." : "");
    }
    return fail(Errc::kParse,
                "no header of a kernel table found; expected the CSV of nsys stats "
                "--report cuda_gpu_kern_sum or cuda_gpu_trace, of ncu --csv, or of rocprof");
  }

  // nvprof and ncu's raw page name the units in the row below the header.
  bool take_units() {
    bool any = false;
    for (std::size_t role = 0; role < kRoles; ++role) {
      const auto at = columns_.at[role];
      if (!at) continue;
      const auto text = csv_.field(*at);
      if (parse_grouped(text)) return false;
      const auto per = nanoseconds_per(text);
      if (!per) continue;
      columns_.to_ns[role] = *per;
      any = true;
    }
    if (any && kind_ == TableKind::kNcuRaw) {
      for (std::size_t i = 0; i < csv_.fields().size(); ++i) units_.emplace_back(csv_.field(i));
    }
    return any;
  }

  bool starts_another_table() const {
    return csv_.fields().size() > 2 && kind_of(columns_of(csv_.fields())) != TableKind::kNone &&
           (!columns_.has(Role::kCalls) || !number(Role::kCalls));
  }

  std::string_view text(Role role) const {
    const auto at = columns_[role];
    return at ? csv_.field(*at) : std::string_view();
  }

  std::optional<double> number(Role role) const {
    const auto value = parse_grouped(text(role));
    if (!value || !std::isfinite(*value)) return std::nullopt;
    return value;
  }

  std::optional<double> nanoseconds(Role role) const {
    const auto value = number(role);
    if (!value) return std::nullopt;
    return *value * columns_.to_ns[static_cast<std::size_t>(role)];
  }

  void bad_row() {
    ++timeline_.bad_events;
    if (first_bad_line_ == 0) first_bad_line_ = csv_.line();
  }

  void row() {
    const auto name = text(Role::kName);
    if (name.empty()) {
      bad_row();
      return;
    }
    const auto category = text(Role::kCategory);
    if (category == "MEMORY_OPER" || category == "API calls") return;
    switch (kind_) {
      case TableKind::kSummary:
        return summary_row(name);
      case TableKind::kTimeline:
        return timeline_row(name);
      case TableKind::kNcuDetails:
        return metric_row(name);
      case TableKind::kNcuRaw:
      case TableKind::kLaunches:
        return launch_row(name);
      case TableKind::kNone:
        return;
    }
  }

  void summary_row(std::string_view name) {
    const auto calls = number(Role::kCalls);
    auto total = nanoseconds(Role::kTotal);
    const auto average = nanoseconds(Role::kAverage);
    if (calls && !total && average) total = *average * *calls;
    if (!calls || !total || *calls < 0 || *total < 0 || *calls > 9e15) {
      bad_row();
      return;
    }
    if (is_memory_operation(name)) return;
    timeline_.sums.push_back({.name = timeline_.names.intern(name),
                              .calls = static_cast<std::int64_t>(*calls),
                              .total_ns = *total,
                              .median_ns = nanoseconds(Role::kMedian).value_or(kUnknownTime),
                              .min_ns = nanoseconds(Role::kMin).value_or(kUnknownTime),
                              .max_ns = nanoseconds(Role::kMax).value_or(kUnknownTime),
                              .stddev_ns = nanoseconds(Role::kStddev).value_or(kUnknownTime)});
  }

  // "NVIDIA H200 (3)", "3", "Agent 5".
  std::int32_t device() {
    const auto whole = text(Role::kDevice);
    if (const auto plain = parse_int(whole)) return static_cast<std::int32_t>(*plain);
    const auto open = whole.rfind('(');
    const auto close = whole.rfind(')');
    if (open != std::string_view::npos && close != std::string_view::npos && close > open) {
      if (const auto id = parse_int(whole.substr(open + 1, close - open - 1))) {
        if (device_ids_.insert(*id).second) {
          timeline_.devices.emplace_back(
              whole.substr(0, whole.find_last_not_of(' ', open - 1) + 1));
        }
        return static_cast<std::int32_t>(*id);
      }
    }
    const auto space = whole.rfind(' ');
    if (space != std::string_view::npos) {
      if (const auto id = parse_int(whole.substr(space + 1))) return static_cast<std::int32_t>(*id);
    }
    return 0;
  }

  void timeline_row(std::string_view name) {
    const auto start = nanoseconds(Role::kStart);
    const auto end = nanoseconds(Role::kEnd);
    auto duration = nanoseconds(Role::kDuration);
    if (start && end && !duration) duration = *end - *start;
    if (!start || !duration || *duration < 0) {
      bad_row();
      return;
    }
    if (!origin_ns_) {
      origin_ns_ = start;
      timeline_.origin_ns = static_cast<std::int64_t>(std::clamp(*start, -9e18, 9e18));
    }
    const Launch launch{.start_ns = *start - *origin_ns_,
                        .duration_ns = *duration,
                        .stream = parse_int(text(Role::kStream)).value_or(0),
                        .name = timeline_.names.intern(name),
                        .device = device()};
    auto& list = !is_memory_operation(name)                      ? timeline_.launches
                 : name.find("memset") != std::string_view::npos ? timeline_.fills
                                                                 : timeline_.copies;
    list.push_back(launch);
  }

  void metric_row(std::string_view name) {
    const auto id = fmt::format("{} {}", text(Role::kProcess), text(Role::kId));
    if (timeline_.sums.empty() || id != launch_id_) {
      launch_id_ = id;
      timeline_.sums.push_back(
          {.name = timeline_.names.intern(name), .calls = 1, .total_ns = kUnknownTime});
    }
    auto& source = timeline_.source;
    const auto metric = text(Role::kMetricName);
    const auto unit = text(Role::kMetricUnit);
    const auto value = text(Role::kMetricValue);
    if (timeline_.sums.size() == 1) {
      source.grid = text(Role::kGrid);
      source.block = text(Role::kBlock);
      source.compute_capability = text(Role::kCapability);
      // Rows of a rule carry no metric.
      if (!metric.empty()) source.metrics[fmt::format("{} [{}]", metric, unit)] = value;
    }
    if (metric == "gpu__time_duration.sum" || metric == "Duration" ||
        metric == "gpu__time_duration.avg") {
      const auto per = nanoseconds_per(unit);
      const auto time = parse_grouped(value);
      if (per && time && *time >= 0) timeline_.sums.back().total_ns = *time * *per;
    }
  }

  void launch_row(std::string_view name) {
    const auto duration = nanoseconds(Role::kDuration);
    if (!duration || *duration < 0) {
      bad_row();
      return;
    }
    if (kind_ == TableKind::kNcuRaw && timeline_.sums.empty()) {
      auto& source = timeline_.source;
      source.grid = text(Role::kGrid);
      source.block = text(Role::kBlock);
      source.compute_capability = text(Role::kCapability);
      for (std::size_t i = 0; i < columns_.header.size(); ++i) {
        if (columns_.header[i].find("__") == std::string::npos) continue;
        source.metrics[fmt::format("{} [{}]", columns_.header[i],
                                   i < units_.size() ? units_[i] : "")] = csv_.field(i);
      }
    }
    timeline_.sums.push_back(
        {.name = timeline_.names.intern(name), .calls = 1, .total_ns = *duration});
  }

  Result<Timeline> finish() {
    const auto untimed = std::erase_if(
        timeline_.sums, [](const KernelSum& sum) { return std::isnan(sum.total_ns); });
    if (untimed > 0) {
      timeline_.warnings.push_back(
          fmt::format("{} launches without gpu__time_duration.sum or Duration were left out; "
                      "collect the section SpeedOfLight or that metric",
                      untimed));
    }
    timeline_.source.rows = rows_;
    timeline_.source.field_counts.assign(field_counts_.begin(), field_counts_.end());
    if (timeline_.bad_events > 0) {
      timeline_.warnings.push_back(
          fmt::format("{} rows without a name or a number were left out, the first in line {}",
                      timeline_.bad_events, first_bad_line_));
    }
    if (kind_ == TableKind::kSummary && !columns_.has(Role::kMin) && !columns_.has(Role::kMax)) {
      timeline_.warnings.emplace_back(
          "the table has no minimum and maximum: how far calls differ is not known");
    }
    if (timeline_.sums.empty() && timeline_.launches.empty()) {
      return fail(Errc::kNotFound, "no kernel in this table ({} rows)", rows_);
    }
    return std::move(timeline_);
  }

  CsvReader csv_;
  Columns columns_;
  TableKind kind_ = TableKind::kNone;
  Timeline timeline_;
  std::int64_t rows_ = 0;
  std::set<std::int64_t> field_counts_;
  std::set<std::int64_t> device_ids_;
  std::size_t first_bad_line_ = 0;
  std::optional<double> origin_ns_;
  std::string launch_id_;
  std::vector<std::string> units_;
};

}  // namespace

Result<Timeline> read_kernel_csv(CsvReader csv) {
  return CsvImporter(std::move(csv)).read();
}

}  // namespace dsaperf::trace
