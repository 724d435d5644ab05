#include "dsaperf/report/align.hpp"

#include "dsaperf/core/wrapped.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <optional>

namespace dsaperf::report {
namespace {

using Json = nlohmann::ordered_json;
using trace::AlignedStage;
using trace::StageState;

std::string_view verdict(const AlignReport& report) {
  return report.alignment.aligned() ? "aligned" : "not_aligned";
}

std::string micros(double ns) {
  return ns == 0 ? "-" : fmt::format("{:.2f}", ns / 1e3);
}

std::string calls(double count) {
  return count == 0 ? "-" : fmt::format("{:.4g}", count);
}

std::string ratio(const AlignedStage& stage) {
  if (!stage.ratio) return "-";
  return fmt::format("{:.2f}{}", *stage.ratio, stage.within_spread ? " (none)" : "");
}

bool fails(const AlignedStage& stage) {
  return stage.decisive && (stage.state != StageState::kSame || !stage.within_ratio);
}

std::string side_line(const char* who, const AlignSide& side) {
  std::string line = fmt::format("{}: {}: {}", who, side.file, side.profile.basis);
  if (side.profile.phase != trace::Phase::kUnknown) {
    line += fmt::format(", {} only", trace::name(side.profile.phase));
  }
  return line;
}

struct Check {
  const char* text;
  bool holds;
};

std::vector<Check> checks(const AlignReport& report) {
  const auto& alignment = report.alignment;
  return {{"kernel names match", alignment.names_match},
          {"no stage missing", alignment.none_missing},
          {"no stage extra", alignment.none_extra},
          {"each stage within the ratio", alignment.within_ratio}};
}

Json side_json(const AlignSide& side) {
  const auto& profile = side.profile;
  Json json = {{"file", side.file},
               {"basis", profile.basis},
               {"layers", profile.layers},
               {"phase", trace::name(profile.phase)},
               {"whole_model", profile.whole_model},
               {"cuda_graph", profile.graph}};
  json["launch_bound_share"] =
      std::isnan(profile.launch_bound_share) ? Json() : Json(profile.launch_bound_share);
  json["unclassified_share"] = profile.unclassified_share;
  return json;
}

Json kernel_json(const trace::AlignedKernel& kernel) {
  return {{"name", kernel.name.key()},
          {"display", trace::display_name(kernel.name)},
          {"calls", {{"mock", kernel.mock_calls}, {"reference", kernel.reference_calls}}},
          {"times", {{"mock_ns", kernel.mock_ns}, {"reference_ns", kernel.reference_ns}}},
          {"other_arguments", kernel.other_arguments}};
}

Json stage_json(const AlignedStage& stage) {
  Json json = {{"name", trace::name(stage.part)},
               {"title", trace::title(stage.part)},
               {"state", trace::name(stage.state)},
               {"calls", {{"mock", stage.mock_calls}, {"reference", stage.reference_calls}}},
               {"times", {{"mock_ns", stage.mock_ns}, {"reference_ns", stage.reference_ns}}},
               {"ratio", stage.ratio ? Json(*stage.ratio) : Json()},
               {"within_ratio", stage.within_ratio},
               {"difference", stage.ratio ? Json(stage.within_spread ? "none" : "real") : Json()},
               {"decisive", stage.decisive}};
  json["kernels"] = Json::array();
  for (const auto& kernel : stage.kernels) json["kernels"].push_back(kernel_json(kernel));
  return json;
}

std::string dumped(const Json& json) {
  // Names come from foreign files: bytes that are no UTF-8 are replaced, not refused.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string align_text(const AlignReport& report, const TextStyle& style) {
  using Align = TextTable::Align;
  std::string text = wrapped(
      side_line("mock", report.mock) + "\n" + side_line("reference", report.reference) + "\n\n",
      style.width, {.indent = "  "});
  TextTable table({{"stage", Align::kLeft},
                   {"state", Align::kLeft},
                   {"calls mock", Align::kRight},
                   {"ref", Align::kRight},
                   {"us mock", Align::kRight},
                   {"ref", Align::kRight},
                   {"ratio", Align::kRight}});
  for (const auto& stage : report.alignment.stages) {
    const Tone tone = fails(stage) ? Tone::kBad : stage.decisive ? Tone::kPlain : Tone::kFaint;
    const std::string state = std::string(trace::name(stage.state)) + (stage.decisive ? "" : " *");
    table.add_row({{std::string(trace::name(stage.part)), tone},
                   {state, tone},
                   calls(stage.mock_calls),
                   calls(stage.reference_calls),
                   micros(stage.mock_ns),
                   micros(stage.reference_ns),
                   {ratio(stage), stage.within_ratio ? tone : Tone::kBad}});
  }
  text += table.str(style);
  text += wrapped(
      "per layer; ratio = mock / reference, (none): within the spread of both; * does not decide\n",
      style.width);

  TextTable kernels({{"stage", Align::kLeft},
                     {"kernel", Align::kLeft},
                     {"us mock", Align::kRight},
                     {"ref", Align::kRight}});
  for (const auto& stage : report.alignment.stages) {
    if (stage.state == StageState::kSame || !stage.decisive) continue;
    constexpr std::size_t kMost = 6;
    for (std::size_t i = 0; i < std::min(kMost, stage.kernels.size()); ++i) {
      const auto& kernel = stage.kernels[i];
      kernels.add_row({std::string(trace::name(stage.part)), trace::display_name(kernel.name, 44),
                       micros(kernel.mock_ns), micros(kernel.reference_ns)});
    }
  }
  if (!kernels.empty()) text += "\n" + kernels.str(style);
  if (!report.alignment.explanations.empty()) text += "\n";
  for (const auto& line : report.alignment.explanations) text += "- " + line + "\n";
  text += "\n";
  for (const auto& check : checks(report)) {
    text += fmt::format("{} {}{}\n", check.holds ? "yes" : "no ", check.text,
                        check.text[0] == 'e' ? fmt::format(" of {}", report.max_ratio) : "");
  }
  text += toned(fmt::format("verdict: {}", verdict(report)),
                report.alignment.aligned() ? Tone::kGood : Tone::kBad, style) +
          "\n";
  return text;
}

std::string align_markdown(const AlignReport& report) {
  std::string text =
      fmt::format("## Alignment: {}\n\n- {}\n- {}\n\n", verdict(report),
                  side_line("mock", report.mock), side_line("reference", report.reference));
  text +=
      "| stage | state | calls mock | calls reference | us mock | us reference | ratio |\n"
      "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n";
  for (const auto& stage : report.alignment.stages) {
    text += fmt::format("| {} | {}{} | {} | {} | {} | {} | {} |\n", trace::title(stage.part),
                        trace::name(stage.state), stage.decisive ? "" : " *",
                        calls(stage.mock_calls), calls(stage.reference_calls),
                        micros(stage.mock_ns), micros(stage.reference_ns), ratio(stage));
  }
  text +=
      "\nPer layer. Ratio is mock / reference; (none) is a difference within the spread of both; "
      "* does not decide.\n\n";
  for (const auto& check : checks(report)) {
    text += fmt::format("- [{}] {}\n", check.holds ? 'x' : ' ', check.text);
  }
  if (!report.alignment.explanations.empty()) text += "\n";
  for (const auto& line : report.alignment.explanations) text += "- " + line + "\n";
  return text;
}

std::string align_json(const AlignReport& report) {
  const auto& alignment = report.alignment;
  Json json = {{"format", "dsaperf.align.1"},
               {"verdict", verdict(report)},
               {"checks",
                {{"names_match", alignment.names_match},
                 {"none_missing", alignment.none_missing},
                 {"none_extra", alignment.none_extra},
                 {"within_ratio", alignment.within_ratio}}},
               {"max_ratio", report.max_ratio},
               {"mock", side_json(report.mock)},
               {"reference", side_json(report.reference)}};
  json["stages"] = Json::array();
  for (const auto& stage : alignment.stages) json["stages"].push_back(stage_json(stage));
  json["sequence"] = Json::array();
  const auto side = [](const std::optional<trace::LayerProfile::Call>& call,
                       const trace::Classified& classified) {
    return call ? Json(classified.names[call->name].key()) : Json();
  };
  for (const auto& call : alignment.sequence) {
    const auto part = call.mock ? call.mock->part : call.reference->part;
    const auto state = !call.mock         ? StageState::kMissing
                       : !call.reference  ? StageState::kExtra
                       : call.same_kernel ? StageState::kSame
                                          : StageState::kOtherKernel;
    json["sequence"].push_back({{"stage", trace::name(part)},
                                {"state", trace::name(state)},
                                {"mock", side(call.mock, report.mock.classified)},
                                {"reference", side(call.reference, report.reference.classified)}});
  }
  json["explanations"] = alignment.explanations;
  json["warnings"] = report.warnings;
  return dumped(json);
}

}  // namespace dsaperf::report
