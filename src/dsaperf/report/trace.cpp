#include "dsaperf/report/trace.hpp"

#include "dsaperf/core/wrapped.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace dsaperf::report {
namespace {

using Json = nlohmann::ordered_json;
using trace::Timeline;

// A whole number of nanoseconds as an integer; fractions to the picosecond.
Json nanoseconds(double ns) {
  if (std::isnan(ns)) return nullptr;
  if (ns == std::floor(ns) && std::abs(ns) < 9e15) return static_cast<std::int64_t>(ns);
  return std::round(ns * 1e3) / 1e3;
}

double microseconds(double ns) {
  return std::round(ns) / 1e3;
}

bool in_microseconds(const Timeline& timeline) {
  return timeline.format == trace::Format::kChromeTrace;
}

template <typename T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}

Json facts(const TraceReport& report) {
  const auto& timeline = report.timeline;
  const auto& source = timeline.source;
  const auto& totals = report.totals;
  const bool us = in_microseconds(timeline);
  const auto time = [&](double ns) { return us ? Json(microseconds(ns)) : nanoseconds(ns); };
  Json facts;
  put(facts, "events", source.events);
  put(facts, "rows", source.rows);
  put(facts, "columns", source.columns);
  put(facts, "schema", source.schema);
  put(facts, "product", source.product);
  put(facts, "tables", source.tables);
  put(facts, "kernel_columns", source.kernel_columns);
  put(facts, "nvtx_events", source.nvtx_events);
  facts["kernels"] = totals.kernels;
  facts["instances"] = totals.kernels;
  facts["total_ns"] = nanoseconds(totals.total_ns);
  facts["total_us"] = microseconds(totals.total_ns);
  facts["unique_names"] = totals.unique_names;
  if (!timeline.is_summary()) {
    facts["span_ns"] = nanoseconds(totals.span_ns);
    facts["span_us"] = microseconds(totals.span_ns);
    facts["streams"] = totals.streams;
    facts["memcpy"] = timeline.copies.size();
    facts["memset"] = timeline.fills.size();
    Json devices = Json::object();
    for (const auto& [id, device] : totals.devices) {
      devices[std::to_string(id)] = Json::array({device.kernels, time(device.total_ns)});
    }
    facts["per_device"] = std::move(devices);
  }
  facts["device"] = timeline.devices;
  if (timeline.format == trace::Format::kNcuCsv) {
    facts["kernel"] = timeline.names[timeline.sums.empty() ? 0 : timeline.sums.front().name];
    put(facts, "block", source.block);
    put(facts, "grid", source.grid);
    put(facts, "cc", source.compute_capability);
    facts["field_counts"] = source.field_counts;
    facts["metrics"] = source.metrics;
  }
  Json top = Json::array();
  constexpr std::size_t kTop = 15;
  for (std::size_t i = 0; i < std::min(kTop, report.kernels.size()); ++i) {
    const auto& sum = report.kernels[i];
    top.push_back(Json::array({timeline.names[sum.name], sum.calls, time(sum.total_ns)}));
  }
  facts["top15"] = std::move(top);
  facts["bad_events"] = timeline.bad_events;
  return facts;
}

Json spread(const trace::Spread& values) {
  return {{"median_ns", nanoseconds(std::round(values.median))},
          {"p10_ns", nanoseconds(std::round(values.p10))},
          {"p90_ns", nanoseconds(std::round(values.p90))},
          {"mean_ns", nanoseconds(std::round(values.mean))},
          {"count", values.count}};
}

Json stage_rows(const std::vector<trace::StageTime>& rows, bool with_title) {
  Json list = Json::array();
  for (const auto& row : rows) {
    Json json = {{"name", row.name}};
    if (with_title) {
      const auto part = *trace::part_from_name(row.name);
      json["title"] = trace::title(part);
      json["group"] = trace::group(part);
    }
    json["calls"] = row.calls;
    json["time_ns"] = nanoseconds(row.time_ns);
    json["share"] = row.share;
    list.push_back(std::move(json));
  }
  return list;
}

std::string time_text(double ns) {
  if (std::isnan(ns)) return "";
  if (ns >= 1e9) return fmt::format("{:.3f} s", ns / 1e9);
  if (ns >= 1e6) return fmt::format("{:.3f} ms", ns / 1e6);
  return fmt::format("{:.2f} us", ns / 1e3);
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

std::string summary_line(const TraceReport& report) {
  const auto& totals = report.totals;
  const auto s = [](auto count) { return count == 1 ? "" : "s"; };
  std::string line =
      fmt::format("{}: {}, {} kernel{} of {} name{}, {} of GPU time", report.file,
                  trace::name(report.timeline.format), totals.kernels, s(totals.kernels),
                  totals.unique_names, s(totals.unique_names), time_text(totals.total_ns));
  if (!report.timeline.is_summary()) {
    line += fmt::format(" in {}, {} GPU{}, {} stream{}", time_text(totals.span_ns),
                        totals.devices.size(), s(totals.devices.size()), totals.streams,
                        s(totals.streams));
  }
  line += '\n';
  return line;
}

std::string steps_text(const TraceReport& report, const TextStyle& style) {
  using Align = TextTable::Align;
  TextTable table({{"GPU", Align::kRight},
                   {"phase", Align::kLeft},
                   {"steps", Align::kRight},
                   {"left out", Align::kRight},
                   {"layers", Align::kRight},
                   {"kernels", Align::kRight},
                   {"step (p10-p90)", Align::kRight},
                   {"busy", Align::kRight},
                   {"layer", Align::kRight}});
  for (const auto& steps : report.steps) {
    table.add_row({std::to_string(steps.device), std::string(trace::name(steps.phase)),
                   std::to_string(steps.steps.size()), std::to_string(steps.left_out),
                   std::to_string(steps.layers), std::to_string(steps.kernels),
                   fmt::format("{} ({}-{})", time_text(steps.span_ns.median),
                               time_text(steps.span_ns.p10), time_text(steps.span_ns.p90)),
                   time_text(steps.busy_ns.median),
                   steps.layer_ns.count > 0 ? time_text(steps.layer_ns.median) : ""});
  }
  return table.empty() ? std::string() : "\n" + table.str(style);
}

std::string gaps_text(const TraceReport& report) {
  std::string text;
  for (const auto& gaps : report.gaps) {
    if (gaps.span_ns <= 0) continue;
    text += fmt::format("{}GPU {}: idle {} of {} ({})", text.empty() ? "\n" : "", gaps.device,
                        time_text(gaps.idle_ns), time_text(gaps.span_ns),
                        percent(gaps.idle_ns / gaps.span_ns));
    if (gaps.launches_known) {
      text += fmt::format(", launch-bound {}", percent(gaps.launch_ns / gaps.span_ns));
    }
    text += '\n';
  }
  return text;
}

}  // namespace

TraceReport::TraceReport(std::string path, const trace::Timeline& recording,
                         const trace::Classified& parts_of_recording)
    : file(std::move(path)),
      timeline(recording),
      classified(parts_of_recording),
      totals(trace::totals(recording)),
      kernels(trace::kernel_sums(recording)),
      parts(trace::main_part_of_names(recording, parts_of_recording)),
      stages(trace::stage_table(recording, parts_of_recording)),
      steps(trace::find_steps(recording, parts_of_recording)),
      gaps(recording.is_summary() ? std::vector<trace::Gaps>() : trace::find_gaps(recording)) {
}

std::string trace_text(const TraceReport& report, std::size_t top, const TextStyle& style) {
  using Align = TextTable::Align;
  std::string text = wrapped(summary_line(report), style.width);
  if (!report.timeline.devices.empty()) {
    text += fmt::format("on {}\n", fmt::join(report.timeline.devices, ", "));
  }

  TextTable stages({{"stage", Align::kLeft},
                    {"calls", Align::kRight},
                    {"time", Align::kRight},
                    {"share", Align::kRight}});
  for (const auto& row : report.stages.parts) {
    const auto part = *trace::part_from_name(row.name);
    const Tone tone = part == trace::Part::kUnclassified ? Tone::kWarning : Tone::kPlain;
    stages.add_row({{fmt::format("{}: {}", row.name, trace::title(part)), tone},
                    std::to_string(row.calls),
                    time_text(row.time_ns),
                    percent(row.share)});
  }
  text += "\n" + stages.str(style);
  text +=
      fmt::format("unclassified: {} of the GPU time\n", percent(report.stages.unclassified_share));

  if (!report.stages.marked.empty()) {
    TextTable marked({{"stage of the layer, as marked", Align::kLeft},
                      {"calls", Align::kRight},
                      {"time", Align::kRight},
                      {"share", Align::kRight}});
    for (const auto& row : report.stages.marked) {
      marked.add_row(
          {row.name, std::to_string(row.calls), time_text(row.time_ns), percent(row.share)});
    }
    text += "\n" + marked.str(style);
  }

  TextTable kernels({{"kernel", Align::kLeft},
                     {"stage", Align::kLeft},
                     {"calls", Align::kRight},
                     {"time", Align::kRight},
                     {"share", Align::kRight},
                     {"median", Align::kRight}});
  for (std::size_t i = 0; i < std::min(top, report.kernels.size()); ++i) {
    const auto& sum = report.kernels[i];
    kernels.add_row(
        {trace::display_name(report.classified.names[sum.name], 48),
         std::string(trace::name(report.parts[sum.name])), std::to_string(sum.calls),
         time_text(sum.total_ns),
         percent(report.totals.total_ns > 0 ? sum.total_ns / report.totals.total_ns : 0),
         time_text(sum.median_ns)});
  }
  text += "\n" + kernels.str(style);
  if (report.kernels.size() > top) {
    text += fmt::format("and {} more names (--top)\n", report.kernels.size() - top);
  }
  text += steps_text(report, style);
  text += gaps_text(report);
  return text;
}

std::string trace_json(const TraceReport& report) {
  const auto& timeline = report.timeline;
  Json json = {{"format", "dsaperf.trace_show.1"},
               {"file", report.file},
               {"file_format", trace::name(timeline.format)},
               {"facts", facts(report)},
               {"stages", stage_rows(report.stages.parts, true)},
               {"groups", stage_rows(report.stages.groups, false)}};
  if (!report.stages.marked.empty()) {
    json["layer_stages"] = stage_rows(report.stages.marked, false);
  }
  json["unclassified_share"] = report.stages.unclassified_share;
  Json kernels = Json::array();
  for (const auto& sum : report.kernels) {
    const auto& name = report.classified.names[sum.name];
    kernels.push_back(
        {{"name", timeline.names[sum.name]},
         {"canonical", name.key()},
         {"display", trace::display_name(name)},
         {"stage", trace::name(report.parts[sum.name])},
         {"calls", sum.calls},
         {"time_ns", nanoseconds(sum.total_ns)},
         {"share", report.totals.total_ns > 0 ? sum.total_ns / report.totals.total_ns : 0},
         {"median_ns", nanoseconds(sum.median_ns)},
         {"min_ns", nanoseconds(sum.min_ns)},
         {"max_ns", nanoseconds(sum.max_ns)}});
  }
  json["kernels"] = std::move(kernels);
  json["steps"] = Json::array();
  for (const auto& steps : report.steps) {
    json["steps"].push_back({{"device", steps.device},
                             {"stream", steps.stream},
                             {"phase", trace::name(steps.phase)},
                             {"steps", steps.steps.size()},
                             {"left_out", steps.left_out},
                             {"layers", steps.layers},
                             {"kernels_per_step", steps.kernels},
                             {"step_span", spread(steps.span_ns)},
                             {"step_busy", spread(steps.busy_ns)},
                             {"layer_busy", spread(steps.layer_ns)}});
  }
  json["gaps"] = Json::array();
  for (const auto& gaps : report.gaps) {
    json["gaps"].push_back(
        {{"device", gaps.device},
         {"span_ns", nanoseconds(gaps.span_ns)},
         {"busy_ns", nanoseconds(gaps.busy_ns)},
         {"idle_ns", nanoseconds(gaps.idle_ns)},
         {"launch_bound_ns", gaps.launches_known ? nanoseconds(gaps.launch_ns) : Json()},
         {"launch_bound_share",
          gaps.launches_known && gaps.span_ns > 0 ? Json(gaps.launch_ns / gaps.span_ns) : Json()},
         {"gaps", gaps.gaps}});
  }
  json["ranges"] = Json::array();
  for (const auto& range : trace::ranges_by_time(timeline)) {
    json["ranges"].push_back({{"name", timeline.names[range.name]},
                              {"count", range.count},
                              {"time_ns", nanoseconds(range.total_ns)}});
  }
  json["warnings"] = timeline.warnings;
  // Names come from foreign files: bytes that are no UTF-8 are replaced, not refused.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace dsaperf::report
