#include "align.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/report/align.hpp"
#include "dsaperf/report/integration.hpp"
#include "dsaperf/trace/align.hpp"
#include "dsaperf/trace/read_trace.hpp"
#include "trace.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct AlignOptions {
  std::string mock;
  std::string reference;
  std::vector<std::string> rules;
  std::string max_unclassified;
  std::string phase = "auto";
  std::string range;
  std::string markdown;
  std::string html;
  double max_ratio = 2;
  bool json = false;
};

constexpr double kManyUnclassified = 0.05;

void warn_of(const trace::Timeline& timeline, const trace::LayerProfile& profile,
             const std::string& file, double limit, std::vector<std::string>& warnings) {
  for (const auto& warning : timeline.warnings) {
    warnings.push_back(fmt::format("{}: {}", file, warning));
  }
  if (profile.unclassified_share > limit) {
    warnings.push_back(
        fmt::format("{}: {:.1f} % of the GPU time is unclassified; a rule file "
                    "(--rules) can name its stages",
                    file, 100 * profile.unclassified_share));
  }
}

Result<ExitCode> align(const AlignOptions& options) {
  double limit = kManyUnclassified;
  if (!options.max_unclassified.empty()) {
    DSAPERF_TRY_ASSIGN(limit, parse_share(options.max_unclassified));
  }
  DSAPERF_TRY_ASSIGN(const auto rules, stage_rules(options.rules));
  DSAPERF_TRY_ASSIGN(const auto mock, trace::read_trace(options.mock, options.range));
  DSAPERF_TRY_ASSIGN(const auto reference, trace::read_trace(options.reference, options.range));
  const auto mock_classified = trace::classify(mock, rules);
  const auto reference_classified = trace::classify(reference, rules);
  const trace::Phase phase = options.phase == "auto"
                                 ? trace::common_phase(mock_classified, reference_classified)
                             : options.phase == "all" ? trace::Phase::kUnknown
                                                      : *trace::phase_from_name(options.phase);
  const auto mock_profile = trace::layer_profile(mock, mock_classified, phase);
  const auto reference_profile = trace::layer_profile(reference, reference_classified, phase);
  const auto alignment = trace::align({mock_profile, mock_classified},
                                      {reference_profile, reference_classified}, options.max_ratio);
  report::AlignReport report{
      .mock = {options.mock, mock_profile, mock_classified},
      .reference = {options.reference, reference_profile, reference_classified},
      .alignment = alignment,
      .max_ratio = options.max_ratio,
      .warnings = {}};
  warn_of(mock, mock_profile, options.mock, limit, report.warnings);
  warn_of(reference, reference_profile, options.reference, limit, report.warnings);
  for (const auto& warning : report.warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  if (!options.markdown.empty()) {
    DSAPERF_TRY(write_file(options.markdown, report::align_markdown(report)));
  }
  if (!options.html.empty()) {
    const auto document = nlohmann::ordered_json::parse(report::align_json(report));
    DSAPERF_TRY(
        write_file(options.html, report::integration_page(report::alignment_document(document))));
  }
  const std::string text =
      options.json ? report::align_json(report)
                   : report::align_text(report, TextStyle::of_descriptor(STDOUT_FILENO));
  std::fputs(text.c_str(), stdout);
  return alignment.aligned() ? ExitCode::kDone : ExitCode::kVerdictNo;
}

void declare_align(Command& command) {
  auto options = std::make_shared<AlignOptions>();
  command.add_option("MOCK", options->mock, "Trace or kernel table of the layer alone").required();
  command.add_option("REFERENCE", options->reference, "Trace or kernel table of the model")
      .required();
  command
      .add_option("--max-ratio", options->max_ratio,
                  "How many times as long a stage may take on one side")
      .check([](const std::string& value) -> std::string {
        const auto ratio = parse_double(value);
        return ratio && *ratio >= 1 ? "" : value + ": a ratio below 1 holds for nothing";
      })
      .show_default();
  command.add_option("--phase", options->phase, "Compare only this phase")
      .one_of({"auto", "all", "prefill", "decode"})
      .show_default();
  command.add_option("--range", options->range,
                     "Only what was launched inside ranges of this name");
  command.add_option("--rules", options->rules,
                     "Rule file asked before the shipped ones (repeatable)");
  command
      .add_option("--max-unclassified", options->max_unclassified,
                  "Warn of a larger share of GPU time without a stage (default 5%)")
      .readable_by(parse_share);
  command.add_option("--markdown", options->markdown, "Write the table as Markdown here, too");
  command.add_option("--html", options->html, "Write a page with a picture here, too");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Exit code 0: aligned, 3: not aligned.\n"
      "Example: dsaperf align layer.json.gz served.sqlite --phase decode --max-ratio 1.5");
  command.callback([options] { return align(*options); });
}

}  // namespace

void add_align(Command& app) {
  app.add_command("align", "Whether a stand-alone layer runs what a served model runs, as fast",
                  declare_align);
}

}  // namespace dsaperf::tool
