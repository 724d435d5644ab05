// Whether the stand-alone layer does what the served model does: against a recording of it, else
// against the list of stages that the model has.

#include "dsaperf/model/stage.hpp"
#include "dsaperf/report/integration/section.hpp"
#include "dsaperf/trace/part.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace dsaperf::report::integration {
namespace {

// Stages of the layer that was run (else of the first layer with an indexer), in order. A dense
// pass selects nothing.
std::vector<model::Stage> stages_of_model(const Json& evidence) {
  const auto& layers = list_at(document_of(evidence, "analyze"), {"layers"});
  const auto& run = document_of(evidence, "run");
  const double wanted = number_at(run, {"layer"});
  const Json* chosen = nullptr;
  for (const auto& layer : layers) {
    const bool is_wanted = number_at(layer, {"index"}) == wanted;
    const bool is_default = std::isnan(wanted) && text_at(layer, {"indexer_role"}) == "full";
    if (chosen == nullptr && (is_wanted || is_default)) chosen = &layer;
  }
  std::vector<model::Stage> stages;
  if (chosen == nullptr) return stages;
  const bool dense = text_at(run, {"regime"}) == "dense";
  for (const auto& name : list_at(*chosen, {"stages"})) {
    const auto stage =
        name.is_string() ? model::stage_from_name(name.get<std::string>()) : std::nullopt;
    if (stage && !(dense && model::is_selection(*stage))) stages.push_back(*stage);
  }
  return stages;
}

Json list_row(const std::string& name, bool expected, bool found, const std::string& source) {
  return {{"stage", spaced(name)},
          {"expected", expected ? "yes" : "no"},
          {"found", found ? "yes" : "no"},
          {"state", expected == found ? "same"
                    : expected        ? "missing"
                                      : "extra"},
          {"source", source}};
}

// Parts that only some kernels show: a fused kernel does the work of several, and names of GEMMs
// and norms are those of the rest of the model, too.
bool tells(trace::Part part) {
  return part == trace::Part::kIndexerScores || part == trace::Part::kTopk ||
         part == trace::Part::kAttention || part == trace::Part::kGemm;
}

void compare_with_trace(const std::vector<model::Stage>& stages, const Json& show,
                        StageList& list) {
  std::set<std::string> found;
  for (const auto& stage : list_at(show, {"stages"})) found.insert(text_at(stage, {"name"}));
  std::set<trace::Part> expected;
  for (const auto stage : stages) {
    if (tells(trace::part_of(stage))) expected.insert(trace::part_of(stage));
  }
  for (const auto part : trace::all_parts()) {
    const bool is_there = found.contains(std::string(trace::name(part)));
    const bool is_due = expected.contains(part);
    const bool would_tell = tells(part) && trace::in_attention_layer(part);
    if (!is_due && !(is_there && would_tell)) continue;
    list.rows.push_back(list_row(std::string(trace::title(part)), is_due, is_there,
                                 "kernels of " + text_at(show, {"file"})));
  }
}

void compare_with_run(const std::vector<model::Stage>& stages, const Json& run, StageList& list) {
  std::set<std::string> found;
  for (const auto& stage : list_at(run, {"stages"})) found.insert(text_at(stage, {"name"}));
  const auto source = "run on " + text_at(run, {"device"});
  for (const auto stage : model::all_stages()) {
    const std::string name(model::name(stage));
    const bool is_due = std::find(stages.begin(), stages.end(), stage) != stages.end();
    if (is_due || found.contains(name)) {
      list.rows.push_back(list_row(name, is_due, found.contains(name), source));
    }
  }
}

void add_stage_list(const Json& evidence, Section& section) {
  auto list = compare_stage_list(evidence);
  if (!list.known) return;
  section.say(fmt::format("{} {} the stages of the model's layer.", file_name(list.against),
                          list.aligned ? "has exactly" : "does not have just"),
              list.against);
  const std::vector<Section::Column> columns = {
      {"stage", "stage"}, {"expected", "in the model"}, {"found", "found"}, {"state", "state"}};
  auto cells = Json::array();
  for (const auto& row : list.rows) {
    for (const char* side : {"expected", "found"}) {
      auto each = row;
      each["side"] = std::string(side) == "expected" ? "in the model" : "found";
      each["there"] = row[side];
      cells.push_back(std::move(each));
    }
  }
  section.picture(
      "stage_list", "Stages, side by side",
      "Which stages the model's layer has, and which of them were found.",
      picture_of(
          std::move(cells), 200,
          {{"mark", {{"type", "rect"}, {"stroke", "var(--paper, white)"}}},
           {"encoding",
            {{"y",
              {{"field", "stage"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}}},
             {"x",
              {{"field", "side"},
               {"type", "nominal"},
               {"title", nullptr},
               {"sort", {"in the model", "found"}},
               {"axis", {{"labelAngle", 0}, {"orient", "top"}}}}},
             {"color",
              {{"field", "there"},
               {"type", "nominal"},
               {"title", "there"},
               {"scale", {{"domain", {"yes", "no"}}, {"range", {"#4c9f70", "#d1495b"}}}}}},
             {"tooltip", tooltip(columns)}}}}));
  section.table("stage_list", "Stages, side by side", columns, std::move(list.rows));
}

// What the picture and the table of stages are made of, of one alignment.
struct AlignedStages {
  Json bars = Json::array();    // two a stage: the layer alone, the served model
  Json labels = Json::array();  // beside the longer of both
  Json table = Json::array();
  double longest_us = 0;
};

// "; " between the kernels of a stage.
std::string kernel_names(const Json& stage) {
  std::string names;
  for (const auto& kernel : list_at(stage, {"kernels"})) {
    names += (names.empty() ? "" : "; ") + text_at(kernel, {"display"});
  }
  return names;
}

AlignedStages aligned_stages(const Json& align) {
  AlignedStages rows;
  const auto mock = text_at(align, {"mock", "file"});
  const auto reference = text_at(align, {"reference", "file"});
  for (const auto& stage : list_at(align, {"stages"})) {
    const auto title = text_at(stage, {"title"});
    const auto state = spaced(text_at(stage, {"state"}));
    const double ratio = number_at(stage, {"ratio"});
    const double mock_us = number_at(stage, {"times", "mock_ns"}) / 1e3;
    const double reference_us = number_at(stage, {"times", "reference_ns"}) / 1e3;
    const auto add_bar = [&](const char* of, double us, const std::string& file) {
      rows.bars.push_back({{"stage", title},
                           {"of", of},
                           {"us", cell(us)},
                           {"state", state},
                           {"ratio", at(stage, {"ratio"})},
                           {"source", "measured: " + file}});
    };
    add_bar("layer alone", mock_us, mock);
    add_bar("served model", reference_us, reference);
    auto label = state;
    if (std::isfinite(ratio)) label += fmt::format(", {:.{}f} x", ratio, ratio < 100 ? 1 : 0);
    const double longer_us = std::fmax(mock_us, reference_us);
    rows.labels.push_back({{"stage", title}, {"us", cell(longer_us)}, {"label", label}});
    rows.longest_us = std::fmax(rows.longest_us, longer_us);
    rows.table.push_back({{"stage", title},
                          {"state", state},
                          {"mock_us", cell(mock_us)},
                          {"reference_us", cell(reference_us)},
                          {"ratio", at(stage, {"ratio"})},
                          {"decides", at(stage, {"decisive"}) == true ? "yes" : "no"},
                          {"kernels", kernel_names(stage)},
                          {"source", fmt::format("measured: {}, {}", mock, reference)}});
  }
  return rows;
}

void add_kernels(const Json& align, Section& section) {
  auto rows = aligned_stages(align);
  if (rows.table.empty()) return;
  const Json y = {{"field", "stage"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", nullptr},
                  {"axis", {{"labelLimit", 220}}}};
  auto x = field("us", "quantitative", "us a layer");
  x["scale"] = room_beside(rows.longest_us);
  constexpr const char* kTitle = "Kernels of a layer, side by side";
  section.picture(
      "align", kTitle,
      "Time a layer of each stage, in the layer alone and in the served model: whether "
      "its kernels are the same, and the ratio of their times.",
      picture_of(std::move(rows.bars), 420,
                 {{"layer",
                   {{{"mark", "bar"},
                     {"encoding",
                      {{"y", y},
                       {"yOffset", {{"field", "of"}}},
                       {"x", x},
                       {"color", field("of", "nominal", "")},
                       {"tooltip", tooltip({{"stage", "stage"},
                                            {"of", "of"},
                                            {"us", "us a layer"},
                                            {"state", "state"},
                                            {"ratio", "ratio"}})}}}},
                    {{"data", {{"values", rows.labels}}},
                     {"mark", {{"type", "text"}, {"align", "left"}, {"dx", 6}}},
                     {"encoding", {{"y", y}, {"x", x}, {"text", {{"field", "label"}}}}}}}}}));
  section.table("align", kTitle,
                {{"stage", "stage"},
                 {"state", "state"},
                 {"mock_us", "layer alone, us"},
                 {"reference_us", "served model, us"},
                 {"ratio", "ratio"},
                 {"decides", "decides"},
                 {"kernels", "kernels"}},
                std::move(rows.table));
}

void add_sequence(const Json& align, Section& section) {
  auto rows = Json::array();
  double place = 0;
  for (const auto& call : list_at(align, {"sequence"})) {
    rows.push_back({{"place", ++place},
                    {"stage", spaced(text_at(call, {"stage"}))},
                    {"state", spaced(text_at(call, {"state"}))},
                    {"mock", at(call, {"mock"})},
                    {"reference", at(call, {"reference"})},
                    {"source", "both recordings"}});
  }
  section.table("sequence", "One layer, call by call",
                {{"place", "#"},
                 {"stage", "stage"},
                 {"state", "state"},
                 {"mock", "layer alone"},
                 {"reference", "served model"}},
                std::move(rows));
}

void add_reference(const Json& reference, Section& section) {
  auto rows = Json::array();
  for (const auto& stage : list_at(reference, {"stages"})) {
    rows.push_back({{"stage", spaced(text_at(stage, {"name"}))},
                    {"calls", at(stage, {"calls"})},
                    {"ms", number_at(stage, {"time_ns"}) / 1e6},
                    {"percent", 100 * number_at(stage, {"share"})},
                    {"source", "measured: " + text_at(reference, {"file"})}});
  }
  if (rows.empty()) return;
  const std::vector<Section::Column> columns = {
      {"stage", "stage"}, {"calls", "calls"}, {"ms", "ms"}, {"percent", "% of GPU time"}};
  section.picture(
      "reference", "What the served model runs",
      "GPU time of each stage in the reference recording.",
      picture_of(
          rows, 300,
          {{"mark", "bar"},
           {"encoding",
            {{"y",
              {{"field", "stage"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}}},
             {"x", field("percent", "quantitative", "% of GPU time")},
             {"tooltip", tooltip(columns)}}}}));
  section.table("reference", "What the served model runs", columns, std::move(rows));
}

}  // namespace

StageList compare_stage_list(const Json& evidence) {
  StageList list;
  list.rows = Json::array();
  const auto stages = stages_of_model(evidence);
  if (stages.empty()) return list;
  const auto& reference = document_of(evidence, "reference");
  const auto& run = document_of(evidence, "run");
  if (reference.is_object()) {
    list.against = text_at(reference, {"file"});
    compare_with_trace(stages, reference, list);
  } else if (run.is_object()) {
    list.against = "The layer run on " + text_at(run, {"device"});
    compare_with_run(stages, run, list);
  }
  list.known = !list.rows.empty();
  list.aligned = std::all_of(list.rows.begin(), list.rows.end(),
                             [](const Json& row) { return row["state"] == "same"; });
  return list;
}

Section align_section(const Json& evidence) {
  Section section("align", "Does it align?");
  const auto& align = document_of(evidence, "align");
  if (align.is_object()) {
    const auto mock = text_at(align, {"mock", "file"});
    const auto reference = text_at(align, {"reference", "file"});
    section.say(fmt::format("{}: {}, the layer alone, against {}, the served model.",
                            text_at(align, {"verdict"}) == "aligned" ? "Aligned" : "Not aligned",
                            file_name(mock), file_name(reference)),
                mock + ", " + reference);
    for (const auto& line : list_at(align, {"explanations"})) {
      if (line.is_string()) section.say(line.get<std::string>(), "measured: both recordings");
    }
    add_kernels(align, section);
    add_sequence(align, section);
    return section;
  }
  add_stage_list(evidence, section);
  add_reference(document_of(evidence, "reference"), section);
  return section;
}

}  // namespace dsaperf::report::integration
