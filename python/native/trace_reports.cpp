#include "dsaperf/report/align.hpp"
#include "dsaperf/report/trace.hpp"
#include "dsaperf/trace/align.hpp"
#include "dsaperf/trace/read_trace.hpp"
#include "dsaperf/trace/rules.hpp"
#include "report_parts.hpp"
#include "reports.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

constexpr double kManyUnclassified = 0.05;  // a warning beyond that, as the program gives

trace::RuleSet rules_of(const std::vector<std::string>& files) {
  auto rules = take(trace::RuleSet::shipped());
  for (const auto& file : files) rules.put_in_front(take(trace::RuleSet::load(file)));
  return rules;
}

trace::Timeline read(const std::string& file, const std::string& range) {
  return take(trace::read_trace(file, range));
}

nb::tuple show(const std::string& file, const std::vector<std::string>& rule_files,
               const std::string& range) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    const auto timeline = read(file, range);
    const auto classified = trace::classify(timeline, rules_of(rule_files));
    const report::TraceReport shown(file, timeline, classified);
    constexpr std::size_t kTop = 15;
    return Rendered{report::trace_json(shown), report::trace_text(shown, kTop, {})};
  }();
  return as_tuple(report);
}

void warn_of(const trace::Timeline& timeline, const trace::LayerProfile& profile,
             const std::string& file, std::vector<std::string>& warnings) {
  for (const auto& warning : timeline.warnings)
    warnings.push_back(fmt::format("{}: {}", file, warning));
  if (profile.unclassified_share > kManyUnclassified)
    warnings.push_back(
        fmt::format("{}: {:.1f} % of the GPU time is unclassified; a rule file "
                    "(rules=) can name its stages",
                    file, 100 * profile.unclassified_share));
}

nb::tuple align(const std::string& mock_file, const std::string& reference_file, double max_ratio,
                const std::string& phase_name, const std::string& range,
                const std::vector<std::string>& rule_files) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    if (!(max_ratio >= 1)) refuse("max_ratio {}: a ratio below 1 holds for nothing", max_ratio);
    const auto rules = rules_of(rule_files);
    const auto mock = read(mock_file, range);
    const auto reference = read(reference_file, range);
    const auto mock_classified = trace::classify(mock, rules);
    const auto reference_classified = trace::classify(reference, rules);
    auto phase = trace::Phase::kUnknown;
    if (phase_name == "auto") {
      phase = trace::common_phase(mock_classified, reference_classified);
    } else if (phase_name != "all") {
      const auto named = trace::phase_from_name(phase_name);
      if (!named) refuse("phase '{}' is none of auto, all, prefill, decode", phase_name);
      phase = *named;
    }
    const auto mock_profile = trace::layer_profile(mock, mock_classified, phase);
    const auto reference_profile = trace::layer_profile(reference, reference_classified, phase);
    const auto alignment = trace::align({mock_profile, mock_classified},
                                        {reference_profile, reference_classified}, max_ratio);
    report::AlignReport shown{
        .mock = {mock_file, mock_profile, mock_classified},
        .reference = {reference_file, reference_profile, reference_classified},
        .alignment = alignment,
        .max_ratio = max_ratio,
        .warnings = {}};
    warn_of(mock, mock_profile, mock_file, shown.warnings);
    warn_of(reference, reference_profile, reference_file, shown.warnings);
    return Rendered{report::align_json(shown), report::align_text(shown, {})};
  }();
  return as_tuple(report);
}

}  // namespace

void bind_trace_reports(nb::module_& module) {
  module.def("trace", &show, nb::arg("file"), nb::arg("rules"), nb::arg("range"));
  module.def("align", &align, nb::arg("mock"), nb::arg("reference"), nb::arg("max_ratio"),
             nb::arg("phase"), nb::arg("range"), nb::arg("rules"));
}

}  // namespace dsaperf::python
