#include "dsaperf/trace/export.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/trace/json_text.hpp"
#include "dsaperf/trace/kernel_name.hpp"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace dsaperf::trace {
namespace {

std::string whole(double ns) {
  return fmt::format("{:.0f}", ns);
}

std::string tenth(double ns) {
  return std::isnan(ns) ? "" : fmt::format("{:.1f}", ns);
}

}  // namespace

std::string nsys_summary_csv(const Timeline& timeline) {
  CsvWriter csv;
  for (const char* title : {"Time (%)", "Total Time (ns)", "Instances", "Avg (ns)", "Med (ns)",
                            "Min (ns)", "Max (ns)", "StdDev (ns)", "Name"}) {
    csv.field(title);
  }
  csv.end_row();
  const auto all = totals(timeline);
  for (const auto& sum : kernel_sums(timeline)) {
    csv.field(tenth(all.total_ns > 0 ? 100 * sum.total_ns / all.total_ns : 0))
        .field(whole(sum.total_ns))
        .field(sum.calls)
        .field(tenth(sum.calls > 0 ? sum.total_ns / static_cast<double>(sum.calls) : 0))
        .field(tenth(sum.median_ns))
        .field(std::isnan(sum.min_ns) ? "" : whole(sum.min_ns))
        .field(std::isnan(sum.max_ns) ? "" : whole(sum.max_ns))
        .field(tenth(sum.stddev_ns))
        .field(demangled_name(timeline.names[sum.name]))
        .end_row();
  }
  return csv.text();
}

std::string nsys_trace_csv(const Timeline& timeline) {
  if (timeline.is_summary()) return {};
  CsvWriter csv;
  for (const char* title : {"Start (ns)", "Duration (ns)", "Device", "Strm", "Name"}) {
    csv.field(title);
  }
  csv.end_row();
  const auto rows = [&](const std::vector<Launch>& launches) {
    for (const auto& launch : launches) {
      const auto device = static_cast<std::size_t>(launch.device);
      csv.field(fmt::format("{}", timeline.origin_ns + std::llround(launch.start_ns)))
          .field(whole(launch.duration_ns))
          .field(device < timeline.devices.size()
                     ? fmt::format("{} ({})", timeline.devices[device], launch.device)
                     : std::to_string(launch.device))
          .field(launch.stream)
          .field(demangled_name(timeline.names[launch.name]))
          .end_row();
    }
  };
  rows(timeline.launches);
  rows(timeline.copies);
  rows(timeline.fills);
  return csv.text();
}

std::string chrome_trace_json(const Timeline& timeline) {
  std::string out = "{\"schemaVersion\": 1, \"deviceProperties\": [";
  auto to = std::back_inserter(out);
  for (std::size_t i = 0; i < timeline.devices.size(); ++i) {
    fmt::format_to(to, "{}{{\"id\": {}, \"name\": ", i > 0 ? ", " : "", i);
    append_json_string(out, timeline.devices[i]);
    out += '}';
  }
  fmt::format_to(to, "],\n\"displayTimeUnit\": \"ms\", \"baseTimeNanoseconds\": {},\n",
                 timeline.origin_ns);
  out += "\"traceEvents\": [";
  const char* separator = "\n";
  const auto event = [&](std::string_view category, std::string_view name) {
    fmt::format_to(to, "{}{{\"ph\": \"X\", \"cat\": \"{}\", \"name\": ", separator, category);
    separator = ",\n";
    append_json_string(out, name);
  };
  const auto events = [&](std::string_view category, const std::vector<Launch>& launches) {
    for (const auto& launch : launches) {
      event(category, demangled_name(timeline.names[launch.name]));
      fmt::format_to(to,
                     ", \"pid\": {}, \"tid\": {}, \"ts\": {:.3f}, \"dur\": {:.3f}, \"args\": "
                     "{{\"device\": {}, \"stream\": {}, \"process\": {}, \"graph node id\": {}",
                     launch.device, launch.stream, launch.start_ns / 1e3, launch.duration_ns / 1e3,
                     launch.device, launch.stream, launch.process, launch.graph_node);
      if (launch.range != kNoName) {
        out += ", \"range\": ";
        append_json_string(out, timeline.names[launch.range]);
      }
      out += "}}";
    }
  };
  events("kernel", timeline.launches);
  events("gpu_memcpy", timeline.copies);
  events("gpu_memset", timeline.fills);
  for (const auto& range : timeline.ranges) {
    event("user_annotation", timeline.names[range.name]);
    fmt::format_to(to, ", \"pid\": \"host\", \"tid\": {}, \"ts\": {:.3f}, \"dur\": {:.3f}}}",
                   range.thread, range.start_ns / 1e3, (range.end_ns - range.start_ns) / 1e3);
  }
  out += "]}\n";
  return out;
}

}  // namespace dsaperf::trace
