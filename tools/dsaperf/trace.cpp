#include "trace.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/report/trace.hpp"
#include "dsaperf/trace/read_trace.hpp"
#include "dsaperf/trace/rules.hpp"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct TraceOptions {
  std::string file;
  std::vector<std::string> rules;
  std::string max_unclassified;
  std::string range;
  std::optional<double> from_ms;
  std::optional<double> to_ms;
  std::optional<int> device;
  std::size_t top = 15;
  bool json = false;
};

// What is asked of the timeline, without the rest.
Result<void> cut(trace::Timeline& timeline, const TraceOptions& options) {
  if (options.device) DSAPERF_TRY(trace::keep_device(timeline, *options.device));
  if (!options.from_ms && !options.to_ms) return {};
  constexpr double kNsPerMs = 1e6;
  return trace::trim_to_time(
      timeline, options.from_ms.value_or(0) * kNsPerMs,
      options.to_ms ? *options.to_ms * kNsPerMs : std::numeric_limits<double>::infinity());
}

Result<ExitCode> show(const TraceOptions& options) {
  std::optional<double> limit;
  if (!options.max_unclassified.empty()) {
    DSAPERF_TRY_ASSIGN(limit, parse_share(options.max_unclassified));
  }
  DSAPERF_TRY_ASSIGN(const auto rules, stage_rules(options.rules));
  DSAPERF_TRY_ASSIGN(auto timeline, trace::read_trace(options.file, options.range));
  DSAPERF_TRY(cut(timeline, options).map_error([&](Error error) {
    return std::move(error).with_context(options.file);
  }));
  const auto classified = trace::classify(timeline, rules);
  const report::TraceReport report(options.file, timeline, classified);
  for (const auto& warning : timeline.warnings) {
    std::fprintf(stderr, "warning: %s: %s\n", options.file.c_str(), warning.c_str());
  }
  const std::string text =
      options.json
          ? report::trace_json(report)
          : report::trace_text(report, options.top, TextStyle::of_descriptor(STDOUT_FILENO));
  std::fputs(text.c_str(), stdout);
  if (limit && report.stages.unclassified_share > *limit) {
    std::fprintf(stderr, "%s: %.1f %% of the GPU time is unclassified, more than %s\n",
                 options.file.c_str(), 100 * report.stages.unclassified_share,
                 options.max_unclassified.c_str());
    return ExitCode::kVerdictNo;
  }
  return ExitCode::kDone;
}

void declare_show(Command& command) {
  auto options = std::make_shared<TraceOptions>();
  command.add_option("FILE", options->file, ".csv, .sqlite or .json, each also as .gz").required();
  command.add_option("--top", options->top, "Kernels to list").show_default();
  command.add_option("--rules", options->rules,
                     "Rule file asked before the shipped ones (repeatable)");
  command
      .add_option("--max-unclassified", options->max_unclassified,
                  "Exit 3 where a larger share of the GPU time has no stage: 5%")
      .readable_by(parse_share);
  command.add_option("--range", options->range,
                     "Only what was launched inside ranges of this name (NVTX, annotation)");
  command.add_option("--from-ms", options->from_ms, "Only from here, after the first kernel");
  command.add_option("--to-ms", options->to_ms, "Only up to here, after the first kernel");
  command.add_option("--device", options->device, "Only this GPU");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer("Example: dsaperf trace show decode.json.gz --top 20 --max-unclassified 5%");
  command.callback([options] { return show(*options); });
}

void declare_trace(Command& command) {
  command.require_command();
  command.add_command(
      "show", "Kernels and stages of a trace of nsys, torch, ncu, rocprof or dsaperf profile",
      declare_show);
  command.footer("Example: dsaperf trace show decode.json.gz");
}

}  // namespace

Result<double> parse_share(const std::string& text) {
  std::string number = text;
  double scale = 1;
  if (number.ends_with('%')) {
    number.pop_back();
    scale = 0.01;
  }
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end) * scale;
  const bool is_share = value >= 0 && value <= 1;  // NaN is none
  if (number.empty() || *end != '\0' || !is_share) {
    return fail(Errc::kInvalidArgument, "\"{}\" is not a share; write 5% or 0.05", text);
  }
  return value;
}

Result<trace::RuleSet> stage_rules(const std::vector<std::string>& files) {
  DSAPERF_TRY_ASSIGN(auto rules, trace::RuleSet::shipped());
  for (const auto& file : files) {
    DSAPERF_TRY_ASSIGN(auto own, trace::RuleSet::load(file));
    rules.put_in_front(std::move(own));
  }
  return rules;
}

void add_trace(Command& app) {
  app.add_command("trace", "Look into recordings of GPU work", declare_trace);
}

}  // namespace dsaperf::tool
