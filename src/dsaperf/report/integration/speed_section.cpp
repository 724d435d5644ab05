// How fast one layer is on the chosen systems: by stage against the bounds, over context length,
// and how close to what the card can do.

#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace dsaperf::report::integration {
namespace {

struct Pass {
  const char* name;   // "prefill": of documents
  const char* title;  // "Prefill"
};
constexpr Pass kPasses[] = {{"prefill", "Prefill"}, {"decode", "Decode"}};

std::string shape_of(const Json& stages) {
  std::string text;
  for (const auto& group : list_at(stages, {"requests"})) {
    text += fmt::format("{}{} x {} new tokens after {}", text.empty() ? "" : ", ",
                        number_at(group, {"count"}), number_at(group, {"new_tokens"}),
                        number_at(group, {"past_tokens"}));
  }
  return fmt::format("{}, {} heads", text, number_at(stages, {"heads"}));
}

// Time that the stage model gives a stage; NaN where it gives none.
double modelled_us(const Json& model, const std::string& stage) {
  for (const auto& each : list_at(model, {"explanation", "stages"})) {
    if (text_at(each, {"name"}) == stage) return 1e3 * number_at(each, {"time_ms"});
  }
  return std::nan("");
}

std::string model_source(const Json& model) {
  return fmt::format("time: modelled from {} {} rows of the whole layer; bound: data/systems",
                     text_at(model, {"backend"}), text_at(model, {"version"}));
}

Json stage_rows(const Json& stages, const Json& model) {
  auto rows = Json::array();
  const std::string source =
      model.is_object() ? model_source(model) : "bound: FLOPs and bytes over data/systems' peaks";
  for (const auto& stage : list_at(stages, {"stages"})) {
    const auto name = text_at(stage, {"name"});
    const double us = modelled_us(model, name);
    rows.push_back({{"stage", spaced(name)},
                    {"bound_us", at(stage, {"bound_us"})},
                    {"bound_by", at(stage, {"binds"})},
                    {"time_us", cell(us)},
                    {"times", cell(us / number_at(stage, {"bound_us"}))},
                    {"gflop", number_at(stage, {"flops"}) / 1e9},
                    {"mb", number_at(stage, {"bytes"}) / 1e6},
                    {"source", source}});
  }
  const double launches = modelled_us(model, "launches");
  if (!rows.empty() && std::isfinite(launches)) {
    rows.push_back({{"stage", "launches"},
                    {"bound_us", 0},
                    {"bound_by", "host"},
                    {"time_us", launches},
                    {"times", nullptr},
                    {"gflop", 0},
                    {"mb", 0},
                    {"source", source}});
  }
  return rows;
}

void add_stages(const Json& evidence, const Pass& pass, const std::string& system,
                Section& section) {
  const auto& stages = document_of(evidence, fmt::format("{}.{}", pass.name, system));
  const auto& model = document_of(evidence, fmt::format("{}_model.{}", pass.name, system));
  auto rows = stage_rows(stages, model);
  if (rows.empty()) return;
  const std::vector<Section::Column> columns = {
      {"stage", "stage"},        {"time_us", "modelled, us"}, {"bound_us", "bound, us"},
      {"times", "of the bound"}, {"bound_by", "bound by"},    {"gflop", "GFLOP"},
      {"mb", "MB moved"}};
  // Of the stages that matter: time and how often the bound, beside the tick.
  double longest = 0;
  for (const auto& row : rows) longest = std::max(longest, number_at(row, {"time_us"}));
  auto timed = Json::array();
  auto labels = Json::array();
  constexpr double kWorthALabel = 0.1;  // of the longest
  for (const auto& row : rows) {
    const double us = number_at(row, {"time_us"});
    const double times = number_at(row, {"times"});
    if (std::isfinite(us)) timed.push_back(row);
    if (!(us >= kWorthALabel * longest)) continue;
    labels.push_back(
        {{"stage", row["stage"]},
         {"us", us},
         {"label", duration(us) + (times > 1.05 ? fmt::format(", {:.1f} x bound", times) : "")}});
  }
  const auto title = fmt::format("{} on {}, by stage", pass.title, system);
  const auto name = fmt::format("stages_{}_{}", pass.name, system);
  section.picture(
      name, title,
      fmt::format("{}. A bar is the least time that a stage can take, coloured by what sets it; "
                  "the tick is the time that tables of whole layers leave it, which can be less.",
                  shape_of(stages)),
      picture_of(
          rows, 290,
          {{"encoding",
            {{"y",
              {{"field", "stage"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}}},
             {"tooltip", tooltip(columns)}}},
           {"layer",
            {{{"mark", {{"type", "bar"}}},
              {"encoding",
               {{"x", field("bound_us", "quantitative", "us")},
                {"color",
                 {{"field", "bound_by"},
                  {"type", "nominal"},
                  {"title", "bound by"},
                  {"scale",
                   {{"domain", {"math", "memory", "host"}},
                    {"range", {"#d1495b", "#3d7ea6", "#7f8ba0"}}}}}}}}},
             {{"data", {{"values", timed}}},
              {"mark", {{"type", "tick"}, {"thickness", 3}, {"color", kInk}}},
              {"encoding", {{"x", field("time_us", "quantitative", "us")}}}},
             {{"data", {{"values", labels}}},
              {"mark", {{"type", "text"}, {"align", "left"}, {"dx", 6}}},
              {"encoding",
               {{"x", {{"field", "us"}, {"type", "quantitative"}, {"scale", room_beside(longest)}}},
                {"text", {{"field", "label"}}},
                {"tooltip", nullptr}}}}}}}));
  section.table(name, fmt::format("{} ({})", title, shape_of(stages)), columns, std::move(rows));
}

// The bound of whichever document is of that cache; NaN where none is.
double bound_of(const std::string& cache, std::initializer_list<const Json*> documents) {
  for (const auto* document : documents) {
    if (text_at(*document, {"kv_cache_dtype"}) == cache) return number_at(*document, {"bound_us"});
  }
  return std::nan("");
}

void add_measured(const Json& evidence, Section& section) {
  auto rows = Json::array();
  for (const auto& system : systems_of(evidence)) {
    for (const auto& pass : kPasses) {
      const auto& stages = document_of(evidence, fmt::format("{}.{}", pass.name, system));
      const auto& tables = document_of(evidence, fmt::format("{}_tables.{}", pass.name, system));
      for (const auto& measured : list_at(tables, {"measured"})) {
        const double us = number_at(measured, {"latency_us"});
        const double bound = bound_of(text_at(measured, {"kv_cache_dtype"}), {&stages, &tables});
        rows.push_back(
            {{"system", system},
             {"pass", pass.title},
             {"shape", shape_of(stages)},
             {"backend", text_at(measured, {"backend"}) + " " + text_at(measured, {"version"})},
             {"kv", at(measured, {"kv_cache_dtype"})},
             {"gemm", at(measured, {"gemm_dtype"})},
             {"us", cell(us)},
             {"bound_us", cell(bound)},
             {"times", cell(us / bound)},
             {"source",
              text_at(measured, {"source"}) + (text_at(measured, {"backend"}) == perfdb::kOwnBackend
                                                   ? ": our own table"
                                                   : ": AIConfigurator's table")}});
      }
    }
  }
  section.table("layer", "The whole layer in the tables",
                {{"system", "system"},
                 {"pass", "pass"},
                 {"shape", "shape"},
                 {"backend", "backend"},
                 {"kv", "cache"},
                 {"gemm", "GEMMs"},
                 {"us", "us"},
                 {"bound_us", "bound, us"},
                 {"times", "of the bound"}},
                std::move(rows));
}

double topk_of(const Json& evidence) {
  return number_at(document_of(evidence, "analyze"), {"facts", "index_topk"});
}

void add_latency(const Json& evidence, const std::string& system, const Pass& pass,
                 Section& section) {
  auto rows = Json::array();
  double batch = 1;
  const bool context = std::string_view(pass.name) == "prefill";
  for (const auto& row : list_at(document_of(evidence, "latency." + system), {"rows"})) {
    if (!at(row, {"predicted_ms"}).is_number() ||
        (text_at(row, {"phase"}) == "context") != context) {
      continue;
    }
    const auto source = text_at(row, {"predicted_source"});
    batch = number_at(row, {"batch"});
    rows.push_back(
        {{"tokens", number_at(row, {"new_tokens_or_seq"})},
         {"ms", at(row, {"predicted_ms"})},
         {"low_ms", at(row, {"predicted_low_ms"})},
         {"high_ms", at(row, {"predicted_high_ms"})},
         {"table",
          fmt::format("{}, {} cache", text_at(row, {"backend"}), text_at(row, {"kv_cache_dtype"}))},
         {"measured", source == "measured"},
         {"source", source + ": " + text_at(row, {"backend"}) + " " + text_at(row, {"version"})}});
  }
  if (rows.empty()) return;
  const auto x = Json{{"field", "tokens"},
                      {"type", "quantitative"},
                      {"title", context ? std::string("tokens of a prompt")
                                        : fmt::format("tokens in context, batch {}", batch)},
                      {"scale", {{"type", "log"}, {"base", 2}, {"nice", false}}},
                      {"axis", {{"format", ","}, {"tickCount", 6}, {"labelOverlap", true}}}};
  const auto y = [](const char* name) {
    return Json{{"field", name},
                {"type", "quantitative"},
                {"title", "ms a layer"},
                {"scale", {{"type", "log"}, {"nice", false}}},
                {"axis", {{"format", "~g"}, {"tickCount", 6}}}};
  };
  const std::vector<Section::Column> columns = {{"table", "table"},
                                                {"tokens", "tokens"},
                                                {"ms", "ms"},
                                                {"low_ms", "5 %, ms"},
                                                {"high_ms", "95 %, ms"}};
  auto layers = Json::array({
      Json{{"mark", {{"type", "area"}, {"opacity", 0.18}}},
           {"encoding", {{"y", y("low_ms")}, {"y2", {{"field", "high_ms"}}}}}},
      Json{{"mark", {{"type", "line"}, {"strokeWidth", 1.5}}}, {"encoding", {{"y", y("ms")}}}},
  });
  // A layer without points has no extent, of which Vega warns.
  for (const bool measured : {true, false}) {
    if (std::none_of(rows.begin(), rows.end(),
                     [&](const Json& row) { return row["measured"] == measured; })) {
      continue;
    }
    layers.push_back(
        {{"transform", {{{"filter", measured ? "datum.measured" : "!datum.measured"}}}},
         {"mark", {{"type", "point"}, {"filled", measured}, {"size", measured ? 60 : 30}}},
         {"encoding", {{"y", y("ms")}, {"tooltip", tooltip(columns)}}}});
  }
  if (const double topk = topk_of(evidence); topk > 0) {
    const Json at_topk = {
        {"values", {{{"tokens", topk}, {"label", fmt::format("top-k {}", topk)}}}}};
    const Json here = {{"field", "tokens"}, {"type", "quantitative"}};
    layers.push_back({{"data", at_topk},
                      {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}, {"color", "#808080"}}},
                      {"encoding", {{"x", here}, {"color", {{"value", "#808080"}}}}}});
    layers.push_back(
        {{"data", at_topk},
         {"mark", {{"type", "text"}, {"align", "left"}, {"dx", 4}, {"baseline", "top"}}},
         {"encoding",
          {{"x", here},
           {"y", {{"value", 2}}},
           {"text", {{"field", "label"}}},
           {"color", {{"value", kInk}}}}}});
  }
  const auto title = fmt::format("{} of one layer over context, {}", pass.title, system);
  const auto name = fmt::format("latency_{}_{}", pass.name, system);
  section.picture(
      name, title,
      "Filled points are measured rows, hollow ones predictions with their 90 % interval; "
      "beyond the dashed line tokens are selected.",
      picture_of(rows, 300,
                 {{"encoding",
                   {{"x", x},
                    {"color",
                     {{"field", "table"},
                      {"type", "nominal"},
                      {"title", nullptr},
                      {"legend", {{"symbolType", "circle"}, {"symbolOpacity", 1}}}}}}},
                  {"layer", std::move(layers)}}));
  section.table(name, title, columns, std::move(rows));
}

// The points to name in the roofline: the two that most time goes to, of each pass.
Json longest_of_each_pass(const Json& points) {
  constexpr std::size_t kNamed = 2;
  auto labels = Json::array();
  for (const auto& pass : kPasses) {
    std::vector<const Json*> of_pass;
    for (const auto& point : points) {
      if (point["pass"] == pass.title && point["what"] == "modelled") of_pass.push_back(&point);
    }
    std::ranges::stable_sort(of_pass, std::greater<>(),
                             [](const Json* point) { return number_at(*point, {"us"}); });
    if (of_pass.size() > kNamed) of_pass.resize(kNamed);
    for (const auto* point : of_pass) {
      auto label = *point;
      label["label"] = text_at(*point, {"stage"}) + ", " + spaced(pass.name);
      labels.push_back(std::move(label));
    }
  }
  return labels;
}

// Stages of a pass at their bounds and at modelled times; those that compute nothing have no place.
void add_points(const Json& stages, const Json& model, const char* pass, Json& points) {
  for (const auto& stage : list_at(stages, {"stages"})) {
    const double flops = number_at(stage, {"flops"});
    const double bytes = number_at(stage, {"bytes"});
    const auto name = text_at(stage, {"name"});
    if (!(flops > 0) || !(bytes > 0)) continue;
    const double bound_us = number_at(stage, {"bound_us"});
    const auto add = [&](const char* what, double us, const std::string& source) {
      // What rows of whole layers leave to a small stage may be less than it needs: no speed.
      if (!(us > 0) || us < bound_us) return;
      points.push_back({{"stage", spaced(name)},
                        {"pass", pass},
                        {"us", us},
                        {"intensity", flops / bytes},
                        {"tflop_per_s", flops / us / 1e6},
                        {"what", what},
                        {"source", source}});
    };
    add("bound", bound_us, "bound: data/systems");
    add("modelled", modelled_us(model, name), model_source(model));
  }
}

// What the card can do, over FLOPs a byte: a line for each format.
Json roof_of(const Json& stages) {
  auto roof = Json::array();
  const double bandwidth = number_at(stages, {"peak_bytes_per_s"});
  for (const auto& [format, peak] : at(stages, {"peak_flop_per_s"}).items()) {
    if ((format != "bf16" && format != "fp8") || !peak.is_number()) continue;
    const double ridge = peak.get<double>() / bandwidth;
    for (const double intensity : {1.0, ridge, 1e4}) {
      roof.push_back({{"intensity", intensity},
                      {"tflop_per_s", std::min(intensity * bandwidth, peak.get<double>()) / 1e12},
                      {"format", format + " peak"}});
    }
  }
  return roof;
}

Json roofline_picture(const Json& points, const Json& roof,
                      const std::vector<Section::Column>& columns) {
  const auto axis = [](const char* name, const char* title) {
    return Json{{"field", name},
                {"type", "quantitative"},
                {"title", title},
                {"scale", {{"type", "log"}, {"nice", false}, {"padding", 10}}},
                {"axis", {{"format", "~g"}, {"tickCount", 6}}}};
  };
  const auto x = axis("intensity", "FLOP a byte");
  const auto y = axis("tflop_per_s", "TFLOP/s");
  return picture_of(
      points, 320,
      {{"layer",
        {{{"data", {{"values", roof}}},
          {"mark", {{"type", "line"}, {"color", "#808080"}}},
          {"encoding", {{"x", x}, {"y", y}, {"strokeDash", field("format", "nominal", "roof")}}}},
         {{"mark", {{"type", "point"}, {"size", 60}}},
          {"encoding",
           {{"x", x},
            {"y", y},
            {"color", field("what", "nominal", "time")},
            {"shape", field("pass", "nominal", "pass")},
            {"tooltip", tooltip(columns)}}}},
         {{"data", {{"values", longest_of_each_pass(points)}}},
          {"mark", {{"type", "text"}, {"align", "left"}, {"dx", 8}, {"dy", 10}}},
          {"encoding", {{"x", x}, {"y", y}, {"text", {{"field", "label"}}}}}}}}});
}

// FLOP/s over FLOPs a byte.
void add_roofline(const Json& evidence, const std::string& system, Section& section) {
  auto points = Json::array();
  auto roof = Json::array();
  for (const auto& pass : kPasses) {
    const auto& stages = document_of(evidence, fmt::format("{}.{}", pass.name, system));
    const auto& model = document_of(evidence, fmt::format("{}_model.{}", pass.name, system));
    add_points(stages, model, pass.title, points);
    if (roof.empty()) roof = roof_of(stages);
  }
  if (points.empty() || roof.empty()) return;
  const std::vector<Section::Column> columns = {
      {"stage", "stage"},           {"pass", "pass"},          {"what", "time"}, {"us", "us"},
      {"intensity", "FLOP a byte"}, {"tflop_per_s", "TFLOP/s"}};
  const auto title = "Roofline, " + system;
  const auto name = "roofline_" + system;
  section.picture(
      name, title,
      "Stages by their arithmetic intensity: at their bounds they lie on the roof, by modelled "
      "times below it. Named are the two longest of each pass.",
      roofline_picture(points, roof, columns));
  section.table(name, title, columns, std::move(points));
}

// Stages one after the other, as shares of their lane, so that lanes of any speed compare.
void add_lane(const std::string& lane, const Json& stages, const char* key,
              const std::string& source, Json& rows) {
  double total = 0;
  for (const auto& stage : stages) total += std::max(0.0, number_at(stage, {key}));
  double start = 0;
  for (const auto& stage : stages) {
    const double us = number_at(stage, {key});
    if (!(us > 0) || !(total > 0)) continue;
    rows.push_back({{"lane", lane + ", " + duration(total)},
                    {"stage", spaced(text_at(stage, {"name"}))},
                    {"start", 100 * start / total},
                    {"end", 100 * (start + us) / total},
                    {"us", us},
                    {"percent", 100 * us / total},
                    {"source", source}});
    start += us;
  }
}

void add_timeline(const Json& evidence, Section& section) {
  auto rows = Json::array();
  const auto& run = document_of(evidence, "run");
  add_lane("as run on " + text_at(run, {"device"}), list_at(run, {"stages"}), "time_us",
           "measured: run on " + text_at(run, {"device"}), rows);
  for (const auto& system : systems_of(evidence)) {
    for (const auto& pass : kPasses) {
      const auto& stages = document_of(evidence, fmt::format("{}.{}", pass.name, system));
      add_lane(fmt::format("{} {}, bound", system, pass.name), list_at(stages, {"stages"}),
               "bound_us", "bound: data/systems", rows);
      auto modelled = Json::array();
      const auto& model = document_of(evidence, fmt::format("{}_model.{}", pass.name, system));
      for (const auto& stage : list_at(model, {"explanation", "stages"})) {
        modelled.push_back(
            {{"name", at(stage, {"name"})}, {"us", 1e3 * number_at(stage, {"time_ms"})}});
      }
      add_lane(fmt::format("{} {}, {}", system, pass.name, text_at(model, {"backend"})), modelled,
               "us", model_source(model), rows);
    }
  }
  auto reference = Json::array();
  for (const auto& stage : list_at(document_of(evidence, "align"), {"stages"})) {
    reference.push_back({{"name", at(stage, {"title"})},
                         {"us", number_at(stage, {"times", "reference_ns"}) / 1e3}});
  }
  add_lane("served model", reference, "us", "measured: the reference recording", rows);
  if (rows.empty()) return;
  const std::vector<Section::Column> columns = {
      {"lane", "lane"}, {"stage", "stage"}, {"us", "us"}, {"percent", "% of the layer"}};
  section.picture(
      "timeline", "Timeline of one layer",
      "The stages of a layer one after the other, each lane drawn to its own length.",
      picture_of(
          rows, 220,
          {{"mark", {{"type", "bar"}, {"stroke", "var(--paper, white)"}, {"strokeWidth", 0.5}}},
           {"encoding",
            {{"y",
              {{"field", "lane"},
               {"type", "nominal"},
               {"title", nullptr},
               {"sort", nullptr},
               {"axis", {{"labelLimit", 260}}}}},
             {"x",
              {{"field", "start"},
               {"type", "quantitative"},
               {"title", "% of the layer's time"},
               {"scale", {{"domain", {0, 100}}, {"nice", false}}}}},
             {"x2", {{"field", "end"}}},
             {"color",
              {{"field", "stage"},
               {"type", "nominal"},
               {"title", nullptr},
               {"sort", nullptr},
               {"scale", {{"scheme", "tableau20"}}},
               {"legend", {{"orient", "bottom"}}}}},
             {"tooltip", tooltip(columns)}}}}));
  section.table("timeline", "Timeline of one layer", columns, std::move(rows));
}

}  // namespace

Section speed_section(const Json& evidence) {
  Section section("speed", "How fast, and what limits it?");
  for (const auto& system : systems_of(evidence)) {
    for (const auto& pass : kPasses) add_stages(evidence, pass, system, section);
    for (const auto& pass : kPasses) add_latency(evidence, system, pass, section);
    add_roofline(evidence, system, section);
  }
  if (section.empty()) return section;
  section.say(
      "Bounds take each stage's FLOPs at the card's peak or its bytes at the card's bandwidth, "
      "whichever is longer. Tables measure whole layers; times of single stages are the stage "
      "model's reading of them, so their sum is firmer than each of them.",
      "docs/formulas.md");
  add_timeline(evidence, section);
  add_measured(evidence, section);
  return section;
}

}  // namespace dsaperf::report::integration
