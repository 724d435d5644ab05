#include "dsaperf/trace/timeline.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <span>
#include <tuple>

namespace dsaperf::trace {

std::uint32_t NameTable::intern(std::string_view name) {
  if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
  const auto id = static_cast<std::uint32_t>(names_.size());
  const auto inserted = ids_.emplace(std::string(name), id).first;
  names_.push_back(&inserted->first);
  return id;
}

std::string_view name(Format format) {
  switch (format) {
    case Format::kNsysCsv:
      return "nsys_csv";
    case Format::kNsysSqlite:
      return "nsys_sqlite";
    case Format::kChromeTrace:
      return "chrome_trace";
    case Format::kNcuCsv:
      return "ncu_csv";
    case Format::kKernelTable:
      return "kernel_table";
    case Format::kOwn:
      return "dsaperf_trace";
  }
  return "unknown";
}

void Timeline::sort() {
  const auto earlier = [](const Launch& a, const Launch& b) {
    return std::tie(a.device, a.start_ns, a.stream, a.duration_ns) <
           std::tie(b.device, b.start_ns, b.stream, b.duration_ns);
  };
  for (auto* list : {&launches, &copies, &fills}) {
    if (!std::is_sorted(list->begin(), list->end(), earlier)) {
      std::stable_sort(list->begin(), list->end(), earlier);
    }
  }
}

Totals totals(const Timeline& timeline) {
  Totals all;
  std::set<std::uint32_t> names;
  std::set<std::tuple<std::int64_t, std::int32_t, std::int64_t>> streams;
  double first = std::numeric_limits<double>::infinity();
  double last = -first;
  std::tuple<std::int64_t, std::int32_t, std::int64_t> previous{-1, -1, -1};
  std::vector<bool> seen(timeline.names.size(), false);
  for (const auto& launch : timeline.launches) {
    ++all.kernels;
    all.total_ns += launch.duration_ns;
    first = std::min(first, launch.start_ns);
    last = std::max(last, launch.end_ns());
    seen[launch.name] = true;
    auto& device = all.devices[launch.device];
    ++device.kernels;
    device.total_ns += launch.duration_ns;
    const std::tuple stream(launch.process, launch.device, launch.stream);
    if (stream != previous) streams.insert(previous = stream);
  }
  all.unique_names = static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true));
  if (all.kernels > 0) all.span_ns = last - first;
  for (const auto& sum : timeline.sums) {
    all.kernels += sum.calls;
    all.total_ns += sum.total_ns;
    names.insert(sum.name);
  }
  all.unique_names += names.size();
  all.streams = streams.size();
  return all;
}

std::vector<KernelSum> kernel_sums(const Timeline& timeline) {
  std::vector<KernelSum> sums;
  if (timeline.is_summary()) {
    // A table that tells launch shapes apart has several rows a name.
    std::unordered_map<std::uint32_t, std::size_t> at;
    for (const auto& row : timeline.sums) {
      const auto [found, is_new] = at.emplace(row.name, sums.size());
      if (is_new) {
        sums.push_back(row);
        continue;
      }
      auto& sum = sums[found->second];
      sum.calls += row.calls;
      sum.total_ns += row.total_ns;
      sum.median_ns = sum.stddev_ns = kUnknownTime;
      sum.min_ns = std::fmin(sum.min_ns, row.min_ns);
      sum.max_ns = std::fmax(sum.max_ns, row.max_ns);
    }
  } else {
    std::vector<std::vector<double>> durations(timeline.names.size());
    for (const auto& launch : timeline.launches) {
      durations[launch.name].push_back(launch.duration_ns);
    }
    for (std::uint32_t id = 0; id < durations.size(); ++id) {
      auto& values = durations[id];
      if (values.empty()) continue;
      KernelSum sum{.name = id, .calls = static_cast<std::int64_t>(values.size())};
      for (const double value : values) sum.total_ns += value;
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      sum.min_ns = *low;
      sum.max_ns = *high;
      const double mean = sum.total_ns / static_cast<double>(sum.calls);
      double squares = 0;
      for (const double value : values) squares += (value - mean) * (value - mean);
      sum.stddev_ns = sum.calls > 1 ? std::sqrt(squares / static_cast<double>(sum.calls - 1)) : 0;
      sum.median_ns = quantile(std::move(values), 0.5);
      sums.push_back(sum);
    }
  }
  std::stable_sort(sums.begin(), sums.end(),
                   [](const KernelSum& a, const KernelSum& b) { return a.total_ns > b.total_ns; });
  return sums;
}

std::vector<NamedRanges> ranges_by_time(const Timeline& timeline) {
  std::vector<NamedRanges> by_name(timeline.names.size());
  for (const auto& range : timeline.ranges) {
    auto& entry = by_name[range.name];
    entry.name = range.name;
    ++entry.count;
    entry.total_ns += range.end_ns - range.start_ns;
  }
  std::erase_if(by_name, [](const NamedRanges& entry) { return entry.count == 0; });
  std::ranges::stable_sort(by_name, std::greater<>(), &NamedRanges::total_ns);
  return by_name;
}

namespace {

tl::unexpected<Error> no_range(const Timeline& timeline, std::string_view range) {
  const auto there = ranges_by_time(timeline);
  if (there.empty()) {
    return fail(Errc::kNotFound,
                "no range named \"{}\", nor any other: ranges are in an nsys database (nsys export "
                "--type sqlite), a trace of torch and one of dsaperf profile",
                range);
  }
  constexpr std::size_t kShown = 5;
  std::vector<std::string> names;
  for (const auto& entry : std::span(there).first(std::min(kShown, there.size()))) {
    names.push_back(fmt::format("\"{}\"", timeline.names[entry.name]));
  }
  const auto more = there.size() > kShown
                        ? fmt::format(" and {} more (trace show --json)", there.size() - kShown)
                        : std::string();
  return fail(Errc::kNotFound, "no range named \"{}\"; there are {}{}", range,
              fmt::join(names, ", "), more);
}

template <typename Keep>
Result<void> trim(Timeline& timeline, std::string_view what, Keep keep) {
  if (timeline.is_summary()) {
    return fail(Errc::kUnsupported,
                "a summary has no times, ranges or devices to cut by; record a timeline");
  }
  for (auto* list : {&timeline.launches, &timeline.copies, &timeline.fills}) {
    std::erase_if(*list, [&](const Launch& launch) { return !keep(launch); });
  }
  if (timeline.launches.empty()) return fail(Errc::kNotFound, "no kernel {}", what);
  return {};
}

}  // namespace

Result<void> trim_to_time(Timeline& timeline, double from_ns, double to_ns) {
  double first = std::numeric_limits<double>::infinity();
  double last = -first;
  for (const auto& launch : timeline.launches) {
    first = std::min(first, launch.start_ns);
    last = std::max(last, launch.start_ns);
  }
  const auto where =
      fmt::format("in that time: the last starts {:.6g} ms after the first", (last - first) / 1e6);
  return trim(timeline, where, [&](const Launch& launch) {
    const double start = launch.start_ns - first;
    return start >= from_ns && start < to_ns;
  });
}

Result<void> trim_to_range(Timeline& timeline, std::string_view range) {
  // By the host range that launched it where that is known, else by the time on the GPU.
  std::vector<Range> wanted;
  for (const auto& candidate : timeline.ranges) {
    if (timeline.names[candidate.name] == range) wanted.push_back(candidate);
  }
  if (wanted.empty()) return no_range(timeline, range);
  return trim(timeline, fmt::format("in the range \"{}\"", range), [&](const Launch& launch) {
    const double at = std::isnan(launch.launched_ns) ? launch.start_ns : launch.launched_ns;
    return std::any_of(wanted.begin(), wanted.end(), [&](const Range& candidate) {
      return at >= candidate.start_ns && at < candidate.end_ns;
    });
  });
}

Result<void> keep_device(Timeline& timeline, std::int32_t device) {
  return trim(timeline, fmt::format("on device {}", device),
              [&](const Launch& launch) { return launch.device == device; });
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return kUnknownTime;
  // Halfway between neighbours for the median of an even number, so that it is the usual one.
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(below),
                   values.end());
  const double low = values[below];
  const double fraction = position - static_cast<double>(below);
  if (fraction == 0) return low;
  const double high =
      *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(below) + 1, values.end());
  return low + fraction * (high - low);
}

}  // namespace dsaperf::trace
