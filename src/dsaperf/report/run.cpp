#include "dsaperf/report/run.hpp"

#include "dsaperf/core/wrapped.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;

// How a report's times are written: in one unit, so that those of a column compare at a glance.
enum class TimeUnit { kMicros, kMillis };

std::string time_text(Micros time, TimeUnit unit) {
  return unit == TimeUnit::kMicros ? fmt::format("{:.1f} us", time.value)
                                   : fmt::format("{:.3f} ms", time.millis());
}

std::string rate_text(double per_second, const char* unit = "") {
  return per_second >= 1e12 ? fmt::format("{:.2f} T{}", per_second / 1e12, unit)
                            : fmt::format("{:.1f} G{}", per_second / 1e9, unit);
}

double per_second(double amount, Micros time) {
  return time.value > 0 ? amount / (time.value * 1e-6) : 0;
}

Micros total(const RunReport& report, Micros RunStage::* member) {
  Micros sum;
  for (const RunStage& stage : report.stages) sum += stage.*member;
  return sum;
}

// Of the longest time that is shown.
TimeUnit time_unit(const RunReport& report) {
  constexpr double kLongestInMicros = 1e4;
  const Micros longest = std::max({total(report, &RunStage::time), total(report, &RunStage::bound),
                                   report.whole_warm.value_or(Micros{})});
  return longest.value < kLongestInMicros ? TimeUnit::kMicros : TimeUnit::kMillis;
}

std::string stage_table(const RunReport& report, const TextStyle& style) {
  const TimeUnit unit = time_unit(report);
  std::vector<TextTable::Column> columns = {{.title = "stage"},
                                            {.title = "time", .align = Align::kRight},
                                            {.title = "+-", .align = Align::kRight},
                                            {.title = "bound", .align = Align::kRight},
                                            {.title = "of bound", .align = Align::kRight},
                                            {.title = "FLOP/s", .align = Align::kRight},
                                            {.title = "B/s", .align = Align::kRight}};
  if (report.check) columns.push_back({.title = "error", .align = Align::kRight});
  TextTable table(columns);
  const auto share = [](Micros bound, Micros time) {
    return time.value > 0 ? fmt::format("{:.0f} %", 100 * (bound / time)) : std::string("-");
  };
  for (const RunStage& stage : report.stages) {
    std::vector<TextTable::Cell> cells = {
        stage.name,
        time_text(stage.time, unit),
        fmt::format("{:.0f} %", 100 * stage.spread),
        time_text(stage.bound, unit),
        share(stage.bound, stage.time),
        rate_text(per_second(stage.flops.value, stage.time)),
        rate_text(per_second(static_cast<double>(stage.bytes.value), stage.time))};
    if (report.check)
      cells.emplace_back(!stage.passed        ? "FAILED"
                         : stage.error == 0.0 ? "exact"
                                              : fmt::format("{:.1e}", stage.error.value_or(0)),
                         stage.passed ? Tone::kGood : Tone::kBad);
    table.add_row(std::move(cells));
  }
  table.add_rule();
  const Micros time = total(report, &RunStage::time);
  const Micros bound = total(report, &RunStage::bound);
  table.add_row({report.whole_warm ? "sum of stages" : "layer", time_text(time, unit), "",
                 time_text(bound, unit), share(bound, time)});
  if (report.whole_warm)
    table.add_row({"layer", time_text(*report.whole_warm, unit), "", time_text(bound, unit),
                   share(bound, *report.whole_warm)});
  return table.str(style);
}

std::string comparison_table(const RunReport& report, const TextStyle& style) {
  TextTable table({{.title = "scores"},
                   {.title = "cache"},
                   {.title = "selection kept", .align = Align::kRight},
                   {.title = "worst token", .align = Align::kRight},
                   {.title = "output error", .align = Align::kRight},
                   {.title = "of the cache", .align = Align::kRight},
                   {.title = "of fp8 scores", .align = Align::kRight}});
  for (const RunComparison& row : report.comparison)
    table.add_row({row.scores, row.kv, fmt::format("{:.2f} %", 100 * row.selection_overlap),
                   fmt::format("{:.2f} %", 100 * row.lowest_overlap),
                   fmt::format("{:.2e}", row.output_error),
                   fmt::format("{:.2e}", row.output_error_of_cache),
                   fmt::format("{:.2e}", row.output_error_of_selection)});
  return table.str(style);
}

}  // namespace

std::string text(const RunReport& report, const TextStyle& style) {
  std::string out = fmt::format(
      "{}, layer {}{}, {} heads, {} on {}\n{} x {} new after {} past tokens: ", report.model,
      report.layer, report.shares_selection ? " (shares a selection)" : "", report.heads,
      report.device, report.device_name, report.batch, report.new_tokens, report.past_tokens);
  out +=
      report.comparison.empty()
          ? fmt::format("{} regime, {} cache, {} projections, {} weights, {} scores\n\n",
                        report.regime, report.kv, report.gemm, report.weights, report.scores)
          : fmt::format("against a bf16 cache and unrounded scores, {} projections\n", report.gemm);
  out = wrapped(out, style.width);
  if (!report.stages.empty()) {
    out += stage_table(report, style);
    const auto figures = fmt::format(
        "\n{} ({} cold, {} warm samples; {} launches{}). Bound: {} and {}, {}.\nMemory: weights "
        "{:.2f} GiB, "
        "caches "
        "{:.2f} GiB, activations {:.2f} GiB, peak {:.2f} GiB.\n",
        report.warm_samples > 0 ? "Warm medians" : "One cold pass or more, none warm",
        report.cold_samples, report.warm_samples, report.launch,
        report.whole_cold ? ", cold layer " + time_text(*report.whole_cold, time_unit(report))
                          : std::string(),
        rate_text(report.peak_flop_per_s, "FLOP/s"), rate_text(report.peak_bytes_per_s, "B/s"),
        report.bound_source, report.weight_bytes.gib(), report.cache_bytes.gib(),
        report.activation_bytes.gib(), report.peak_memory.gib());
    out += wrapped(figures, style.width);
  }
  if (report.check) {
    out += toned(fmt::format("Check against the double reference, {} tokens: {}\n",
                             report.check->tokens, report.check->passed ? "passed" : "FAILED"),
                 report.check->passed ? Tone::kGood : Tone::kBad, style);
    for (const RunStage& stage : report.stages)
      if (!stage.passed) out += fmt::format("  {}: {}\n", stage.name, stage.detail);
  }
  if (!report.comparison.empty()) out += "\n" + comparison_table(report, style);
  return out;
}

nlohmann::ordered_json json(const RunReport& report) {
  const auto optional_us = [](const std::optional<Micros>& time) {
    return time ? nlohmann::ordered_json(time->value) : nlohmann::ordered_json(nullptr);
  };
  auto stages = nlohmann::ordered_json::array();
  for (const RunStage& stage : report.stages) {
    nlohmann::ordered_json entry = {
        {"name", stage.name},
        {"time_us", stage.time.value},
        {"bound_us", stage.bound.value},
        {"error", stage.error ? nlohmann::ordered_json(*stage.error) : nullptr},
        {"cold_us", optional_us(stage.cold)},
        {"warm_us", optional_us(stage.warm)},
        {"spread", stage.spread},
        {"bound_by", stage.bound_by},
        {"flops", stage.flops.value},
        {"bytes", stage.bytes.value},
        {"flop_per_s", per_second(stage.flops.value, stage.time)},
        {"bytes_per_s", per_second(static_cast<double>(stage.bytes.value), stage.time)}};
    if (report.check) {
      entry["tolerance"] = stage.tolerance;
      entry["passed"] = stage.passed;
      entry["detail"] = stage.detail;
    }
    stages.push_back(std::move(entry));
  }
  nlohmann::ordered_json document = {
      {"format", "dsaperf.run.1"},
      {"model", report.model},
      {"layer", report.layer},
      {"shares_selection", report.shares_selection},
      {"device", report.device},
      {"device_name", report.device_name},
      {"heads", report.heads},
      {"batch", report.batch},
      {"new_tokens", report.new_tokens},
      {"past_tokens", report.past_tokens},
      {"kv", report.kv},
      {"gemm", report.gemm},
      {"scores", report.scores},
      {"weights", report.weights},
      {"regime", report.regime},
      {"stages", std::move(stages)},
      {"time_us", total(report, &RunStage::time).value},
      {"bound_us", total(report, &RunStage::bound).value},
      {"timing",
       {{"launch", report.launch},
        {"cold_samples", report.cold_samples},
        {"warm_samples", report.warm_samples},
        {"whole_cold_us", optional_us(report.whole_cold)},
        {"whole_warm_us", optional_us(report.whole_warm)}}},
      {"system",
       report.system.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(report.system)},
      {"peak_flop_per_s", report.peak_flop_per_s},
      {"peak_bytes_per_s", report.peak_bytes_per_s},
      {"bound_source", report.bound_source},
      {"memory",
       {{"weight_bytes", report.weight_bytes.value},
        {"cache_bytes", report.cache_bytes.value},
        {"activation_bytes", report.activation_bytes.value},
        {"peak_bytes", report.peak_memory.value}}}};
  if (report.check)
    document["check"] = {{"passed", report.check->passed}, {"tokens", report.check->tokens}};
  if (!report.comparison.empty()) {
    auto& rows = document["compare_kv"] = nlohmann::ordered_json::array();
    for (const RunComparison& row : report.comparison)
      rows.push_back({{"scores", row.scores},
                      {"kv", row.kv},
                      {"selection_overlap", row.selection_overlap},
                      {"lowest_overlap", row.lowest_overlap},
                      {"output_error", row.output_error},
                      {"output_error_of_cache", row.output_error_of_cache},
                      {"output_error_of_selection", row.output_error_of_selection}});
  }
  document["warnings"] = report.warnings;
  return document;
}

}  // namespace dsaperf::report
