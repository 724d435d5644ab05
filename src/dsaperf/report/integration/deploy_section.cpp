// What to deploy: memory of the chosen deployments, all layouts between throughput and speed, and
// how far predictions of this kind were off where the answer is known.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace dsaperf::report::integration {
namespace {

std::string load_of(const Json& evidence) {
  const auto limit = [&](const char* key) {
    const double ms = number_at(evidence, {"options", key});
    return std::isfinite(ms) && ms > 0 ? fmt::format("{:.0f} ms", ms) : std::string("no limit");
  };
  return fmt::format(
      "{} GPUs, prompts of {} and answers of {} tokens; first token within {}, a token within {}",
      number_at(evidence, {"options", "gpus"}), number_at(evidence, {"options", "isl"}),
      number_at(evidence, {"options", "osl"}), limit("ttft_limit_ms"), limit("tpot_limit_ms"));
}

std::string engine_of(const Json& candidate) {
  return text_at(candidate, {"backend"}) + " " + text_at(candidate, {"version"});
}

Json point_row(const Json& candidate, const std::string& role) {
  return {{"role", role},
          {"backend", engine_of(candidate)},
          {"layout", at(candidate, {"layout"})},
          {"concurrency", at(candidate, {"concurrency"})},
          {"ttft_ms", at(candidate, {"ttft_ms"})},
          {"tpot_ms", at(candidate, {"tpot_ms"})},
          {"user", at(candidate, {"output_tok_s_per_user"})},
          {"gpu", at(candidate, {"output_tok_s_per_cluster_gpu"})},
          {"memory_gib", at(candidate, {"memory_gib"})},
          {"kv", at(candidate, {"kv"})},
          {"binds", at(candidate, {"binds"})},
          {"source", "modelled: closed form over " + engine_of(candidate) + " tables"}};
}

const std::vector<Section::Column>& point_columns() {
  static const std::vector<Section::Column> kColumns = {{"role", ""},
                                                        {"backend", "backend"},
                                                        {"layout", "layout"},
                                                        {"kv", "cache"},
                                                        {"concurrency", "at a time"},
                                                        {"ttft_ms", "TTFT, ms"},
                                                        {"tpot_ms", "TPOT, ms"},
                                                        {"user", "tok/s a user"},
                                                        {"gpu", "tok/s a GPU"},
                                                        {"memory_gib", "GiB a GPU"},
                                                        {"binds", "limited by"}};
  return kColumns;
}

// The limit on the time of a token, as the speed a user must have; empty where there is none.
Json speed_limit(const Json& evidence) {
  const double ms = number_at(evidence, {"options", "tpot_limit_ms"});
  if (!(ms > 0)) return Json::array();
  return {{{"user", 1e3 / ms}, {"label", fmt::format("limit: {:.4g} ms a token", ms)}}};
}

void add_front(const Json& evidence, const Json& sweep, const std::string& system,
               Section& section) {
  constexpr std::size_t kChosen = 3;
  auto front = Json::array();
  auto chosen = Json::array();
  for (const auto& candidate : list_at(sweep, {"pareto"})) {
    front.push_back(point_row(candidate, "front"));
  }
  for (const auto& candidate : list_at(sweep, {"candidates"})) {
    if (chosen.size() == kChosen) break;
    const auto rank = chosen.size() + 1;
    chosen.push_back(point_row(candidate, rank == 1 ? "chosen" : fmt::format("choice {}", rank)));
    chosen.back()["label"] = fmt::format("{}. {}", rank, text_at(candidate, {"layout"}));
    chosen.back()["line"] = rank;
  }
  if (front.empty() && chosen.empty()) return;
  const auto& columns = point_columns();
  const auto x = field("user", "quantitative", "tokens/s a user");
  const auto y = field("gpu", "quantitative", "tokens/s a GPU");
  const auto color = Json{{"field", "backend"},
                          {"type", "nominal"},
                          {"title", nullptr},
                          {"legend", {{"orient", "bottom"}}}};
  const auto name = "pareto_" + system;
  const auto title = "Throughput against speed, " + system;
  auto all = chosen;
  for (const auto& row : front) all.push_back(row);
  auto layers = Json::array(
      {{{"mark", {{"type", "line"}, {"interpolate", "step-before"}, {"color", "#808080"}}},
        {"encoding", {{"x", x}, {"y", y}}}},
       {{"mark", {{"type", "point"}, {"filled", true}, {"size", 45}}},
        {"encoding", {{"x", x}, {"y", y}, {"color", color}, {"tooltip", tooltip(columns)}}}},
       {{"data", {{"values", chosen}}},
        {"mark", {{"type", "point"}, {"shape", "diamond"}, {"size", 220}, {"strokeWidth", 2.5}}},
        {"encoding", {{"x", x}, {"y", y}, {"color", color}, {"tooltip", tooltip(columns)}}}},
       {{"data", {{"values", chosen}}},
        {"mark",
         {{"type", "text"},
          {"align", "left"},
          {"dx", 16},
          {"dy", {{"expr", "datum.line * 15 - 62"}}}}},
        {"encoding", {{"x", x}, {"y", y}, {"text", {{"field", "label"}}}}}}});
  if (const auto limit = speed_limit(evidence); !limit.empty()) {
    layers.push_back({{"data", {{"values", limit}}},
                      {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}, {"color", "#808080"}}},
                      {"encoding", {{"x", x}}}});
    layers.push_back(
        {{"data", {{"values", limit}}},
         {"mark", {{"type", "text"}, {"align", "left"}, {"dx", 4}, {"baseline", "top"}}},
         {"encoding", {{"x", x}, {"y", {{"value", 2}}}, {"text", {{"field", "label"}}}}}});
  }
  section.picture(name, title,
                  "Each point is a layout at an operating point of the Pareto front; diamonds are "
                  "the best within the limits, right of the dashed line a token takes no longer "
                  "than asked for.",
                  picture_of(front, 320, {{"layer", std::move(layers)}}));
  section.table(name, title, columns, std::move(all));
}

void add_rejected(const Json& sweep, const std::string& system, Section& section) {
  auto rows = Json::array();
  for (const auto& rejected : list_at(sweep, {"rejected"})) {
    rows.push_back({{"backend", at(rejected, {"backend"})},
                    {"layout", at(rejected, {"layout"})},
                    {"reason", at(rejected, {"reason"})},
                    {"source", "sweep"}});
  }
  section.table("rejected_" + system, "Layouts left out, " + system,
                {{"backend", "backend"}, {"layout", "layout"}, {"reason", "why"}}, std::move(rows));
}

void add_operators(const Json& estimate, const std::string& system, Section& section) {
  auto rows = Json::array();
  for (const char* pass : {"context", "generation"}) {
    for (const auto& op : list_at(estimate, {pass, "operators"})) {
      rows.push_back({{"pass", std::string(pass) == "context" ? "prefill" : "decode"},
                      {"operator", spaced(text_at(op, {"name"}))},
                      {"ms", at(op, {"time_ms"})},
                      {"percent", 100 * number_at(op, {"share"})},
                      {"source", text_at(op, {"source"}) + ": " + engine_of(estimate)}});
    }
  }
  section.table("operators_" + system, "One pass of the chosen deployment, " + system,
                {{"pass", "pass"}, {"operator", "operator"}, {"ms", "ms"}, {"percent", "%"}},
                std::move(rows));
}

// A measured row of the first system that has one: what its projections are stored in.
const Json& gemm_source(const Json& evidence) {
  static const Json kNone;
  for (const auto& system : systems_of(evidence)) {
    const auto& measured = list_at(document_of(evidence, "prefill." + system), {"measured"});
    if (!measured.empty()) return measured[0];
  }
  return kNone;
}

// What the picture of memory is drawn from, of all chosen deployments.
struct MemoryParts {
  Json bars = Json::array();    // a part each, from where the one before ends
  Json labels = Json::array();  // names of the parts that have room for one
  Json cards = Json::array();   // what each card has
  std::string totals;
};

void add_memory(const Json& estimate, const std::string& system, MemoryParts& memory) {
  constexpr double kWorthALabel = 0.12;  // of the card: a part with room for its name
  const auto deployment = fmt::format("{}, {}", system, text_at(estimate, {"backend"}));
  auto parts = Json::array();
  for (const auto& [part, gib] : at(estimate, {"memory"}).items()) {
    if (part == "total" || !gib.is_number()) continue;
    parts.push_back({{"deployment", deployment},
                     {"part", spaced(part)},
                     {"gib", gib},
                     {"source", part == "weights" || part == "kv_cache"
                                    ? "computed: parameters, formats and the engine's rule"
                                    : "modelled"}});
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Json& a, const Json& b) {
    return number_at(a, {"gib"}) > number_at(b, {"gib"});
  });
  const double card = number_at(estimate, {"capacity", "card_gib"});
  double used = 0;
  for (auto& part : parts) {
    const double gib = number_at(part, {"gib"});
    part["start"] = used;
    part["end"] = used += gib;
    if (gib >= kWorthALabel * card) {
      memory.labels.push_back({{"deployment", deployment},
                               {"start", used - gib},
                               {"middle", used - gib / 2},
                               {"end", used},
                               {"label", fmt::format("{} {:.1f}", text_at(part, {"part"}), gib)}});
    }
    memory.bars.push_back(std::move(part));
  }
  if (!std::isfinite(card)) return;
  memory.totals += fmt::format(" {}: {:.0f} of {:.0f} GiB.", deployment, used, card);
  memory.cards.push_back(
      {{"deployment", deployment}, {"part", "card"}, {"gib", card}, {"source", "data/systems"}});
}

Json memory_picture(const MemoryParts& memory, const std::vector<Section::Column>& columns) {
  const auto y = Json{{"field", "deployment"},
                      {"type", "nominal"},
                      {"title", nullptr},
                      {"sort", nullptr},
                      {"axis", {{"labelLimit", 160}}}};
  return picture_of(
      memory.bars, 90,
      {{"layer",
        {{{"mark", "bar"},
          {"encoding",
           {{"y", y},
            {"x", {{"field", "start"}, {"type", "quantitative"}, {"title", "GiB"}}},
            {"x2", {{"field", "end"}}},
            {"color",
             {{"field", "part"},
              {"type", "nominal"},
              {"title", nullptr},
              {"sort", nullptr},
              // Names inside the bars are white: 3 : 1 on each of these.
              {"scale", {{"range", {"#3d7ea6", "#bf5b2c", "#3f8a60", "#a0529a", "#6b7280"}}}}}},
            {"tooltip", tooltip(columns)}}}},
         {{"data", {{"values", memory.labels}}},
          {"mark",
           {{"type", "text"},
            {"fill", "#ffffff"},
            {"limit", {{"expr", "scale('x', datum.end) - scale('x', datum.start)"}}}}},
          {"encoding",
           {{"y", y},
            {"x", {{"field", "middle"}, {"type", "quantitative"}}},
            {"text", {{"field", "label"}}}}}},
         {{"data", {{"values", memory.cards}}},
          {"mark", {{"type", "tick"}, {"thickness", 3}, {"color", kInk}}},
          {"encoding",
           {{"y", y},
            {"x", {{"field", "gib"}, {"type", "quantitative"}}},
            {"tooltip", tooltip(columns)}}}}}}});
}

// Measured rows of this architecture and its GEMMs, each predicted without itself.
struct LeftOutRows {
  Json rows = Json::array();
  std::vector<double> errors;  // of the stage model, relative
};

LeftOutRows left_out_rows(const Json& evidence) {
  LeftOutRows left_out;
  const auto architecture = text_at(document_of(evidence, "analyze"), {"facts", "architecture"});
  const auto gemm = text_at(gemm_source(evidence), {"gemm_dtype"});
  for (const auto& row : list_at(document_of(evidence, "accuracy"), {"rows"})) {
    const double measured = number_at(row, {"measured_ms"});
    const double predicted = number_at(row, {"predicted_ms"});
    if (!(measured > 0) || !(predicted > 0) || text_at(row, {"left_out"}) != "point") continue;
    // Each once: populations of the drawing overlap.
    if (text_at(row, {"architecture"}) != architecture || !text_at(row, {"population"}).empty() ||
        (!gemm.empty() && text_at(row, {"gemm_dtype"}) != gemm)) {
      continue;
    }
    const bool ours = text_at(row, {"method"}) == "stages";
    if (ours) left_out.errors.push_back(std::abs(predicted / measured - 1));
    left_out.rows.push_back(
        {{"method", ours ? "stage model" : "aiconfigurator's interpolation"},
         {"table", fmt::format("{} {}", text_at(row, {"backend"}), text_at(row, {"phase"}))},
         {"shape", fmt::format("{} heads, {} x {} new after {}", number_at(row, {"heads"}),
                               number_at(row, {"batch"}), number_at(row, {"new_tokens"}),
                               number_at(row, {"past_tokens"}))},
         {"measured_ms", measured},
         {"predicted_ms", predicted},
         {"ratio", predicted / measured},
         {"source", "measured: " + text_at(row, {"backend"}) + " " + text_at(row, {"version"}) +
                        ", row left out of the fit"}});
  }
  return left_out;
}

Json accuracy_picture(const Json& rows, const std::vector<Section::Column>& columns) {
  const Json log_scale = {{"type", "log"}, {"nice", false}, {"padding", 8}};
  return picture_of(
      rows, 300,
      {{"layer",
        {{{"data", {{"values", {{{"ratio", 1}}}}}},
          {"mark", {{"type", "rule"}, {"color", "#808080"}}},
          {"encoding", {{"y", {{"field", "ratio"}, {"type", "quantitative"}}}}}},
         {{"mark", {{"type", "point"}, {"size", 22}, {"opacity", 0.7}}},
          {"encoding",
           {{"x",
             {{"field", "measured_ms"},
              {"type", "quantitative"},
              {"title", "measured, ms a layer"},
              {"scale", log_scale},
              {"axis", {{"format", "~g"}, {"tickCount", 6}}}}},
            {"y",
             {{"field", "ratio"},
              {"type", "quantitative"},
              {"title", "predicted / measured"},
              {"scale", log_scale},
              {"axis",
               {{"format", "~g"},
                {"values", {0.25, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4}}}}}},
            {"color", field("method", "nominal", "")},
            {"shape", field("table", "nominal", "")},
            {"tooltip", tooltip(columns)}}}}}}});
}

}  // namespace

Section memory_section(const Json& evidence) {
  Section section("memory", "Memory");
  MemoryParts memory;
  for (const auto& system : systems_of(evidence)) {
    add_memory(document_of(evidence, "estimate." + system), system, memory);
  }
  if (memory.bars.empty()) return section;
  const std::vector<Section::Column> columns = {
      {"deployment", "deployment"}, {"part", "part"}, {"gib", "GiB a GPU"}};
  constexpr const char* kTitle = "Memory of one GPU, by part";
  section.picture(
      "memory", kTitle,
      "Chosen deployments, GiB of each part; the tick is what the card has." + memory.totals,
      memory_picture(memory, columns));
  auto rows = std::move(memory.bars);
  for (auto& card : memory.cards) rows.push_back(std::move(card));
  section.table("memory", kTitle, columns, std::move(rows));
  return section;
}

Section deploy_section(const Json& evidence) {
  Section section("deploy", "What to deploy");
  auto rows = Json::array();
  for (const auto& system : systems_of(evidence)) {
    const auto& sweep = document_of(evidence, "sweep." + system);
    const auto& candidates = list_at(sweep, {"candidates"});
    if (sweep.is_object() && candidates.empty()) {
      section.say("On " + system + " no layout meets the limits.", "sweep");
    }
    if (!candidates.empty()) {
      const auto& estimate = document_of(evidence, "estimate." + system);
      section.command("On " + system, text_at(candidates[0], {"launch"}));
      const double ranked = number_at(candidates[0], {"concurrency"});
      const double held = number_at(estimate, {"concurrency"});
      if (held < ranked) {
        section.say(fmt::format("{}: the closed form that ranks the layouts allows {} requests at "
                                "a time; of the sizes "
                                "that were simulated, {} is the first within the limits.",
                                system, ranked, held),
                    "modelled: sweep and estimate");
      }
      rows.push_back(
          {{"system", system},
           {"backend", engine_of(candidates[0])},
           {"layout", at(candidates[0], {"layout"})},
           {"concurrency", at(estimate, {"concurrency"})},
           {"ttft_ms", at(estimate, {"ttft_ms"})},
           {"ttft_p99_ms", at(estimate, {"simulation", "ttft_ms", "p99"})},
           {"tpot_ms", at(estimate, {"tpot_ms"})},
           {"gpu", at(estimate, {"output_tok_s_per_gpu"})},
           {"memory_gib", at(estimate, {"memory_gib"})},
           {"source", "modelled: simulation over " + engine_of(candidates[0]) + " tables"}});
    }
    add_front(evidence, sweep, system, section);
  }
  if (section.empty()) return section;
  section.say(load_of(evidence) + ".", "options of this report");
  section.table("chosen", "The chosen deployments, simulated",
                {{"system", "system"},
                 {"backend", "backend"},
                 {"layout", "layout"},
                 {"concurrency", "at a time"},
                 {"ttft_ms", "TTFT, ms"},
                 {"ttft_p99_ms", "TTFT p99, ms"},
                 {"tpot_ms", "TPOT, ms"},
                 {"gpu", "tok/s a GPU"},
                 {"memory_gib", "GiB a GPU"}},
                std::move(rows));
  for (const auto& system : systems_of(evidence)) {
    add_operators(document_of(evidence, "estimate." + system), system, section);
    add_rejected(document_of(evidence, "sweep." + system), system, section);
  }
  return section;
}

Section accuracy_section(const Json& evidence) {
  Section section("accuracy", "How sure?");
  auto [rows, errors] = left_out_rows(evidence);
  if (rows.empty()) return section;
  if (!errors.empty()) {
    std::sort(errors.begin(), errors.end());
    section.say(fmt::format("{} measured rows of one layer, each predicted without itself: median "
                            "error of the stage "
                            "model {:.1f} %, 90th percentile {:.1f} %.",
                            errors.size(), 100 * errors[errors.size() / 2],
                            100 * errors[errors.size() * 9 / 10]),
                "db loo: rows of the fastest backend's tables");
  }
  const std::vector<Section::Column> columns = {{"method", "method"},
                                                {"table", "table"},
                                                {"shape", "shape"},
                                                {"measured_ms", "measured, ms"},
                                                {"predicted_ms", "predicted, ms"},
                                                {"ratio", "predicted / measured"}};
  constexpr const char* kTitle = "Predicted against measured";
  section.picture(
      "accuracy", kTitle,
      "Each point is a measured row that was predicted without it; on the line both agree.",
      accuracy_picture(rows, columns));
  section.table("accuracy", kTitle, columns, std::move(rows));
  return section;
}

}  // namespace dsaperf::report::integration
