// What the model is: its layers, what they weigh, what they cache, and the nearest known model.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dsaperf::report::integration {
namespace {

std::string attention_of(const Json& layer) {
  const auto kind = text_at(layer, {"attention"});
  const auto role = text_at(layer, {"indexer_role"});
  const auto name = kind == "dsa" ? std::string("DSA") : spaced(kind);
  return role == "shared" ? name + ", shared selection" : name;
}

std::string feed_forward_of(const Json& layer) {
  const auto mlp = text_at(layer, {"mlp"});
  return mlp == "moe" ? "experts" : mlp + " MLP";
}

// Two cells a layer: attention above, feed-forward below.
Json layer_cells(const Json& analyze, const std::string& source) {
  auto rows = Json::array();
  for (const auto& layer : list_at(analyze, {"layers"})) {
    const double index = number_at(layer, {"index"});
    const bool mtp = at(layer, {"is_mtp"}) == true;
    const double topk = number_at(layer, {"indexer", "topk"});
    for (const bool attention : {true, false}) {
      rows.push_back({{"layer", index},
                      {"end", index + 1},
                      {"part", attention ? "attention" : "feed-forward"},
                      {"kind", attention ? attention_of(layer) : feed_forward_of(layer)},
                      {"topk", attention ? cell(topk) : Json()},
                      {"drafts", mtp ? "drafts tokens (MTP)" : ""},
                      {"source", source}});
    }
  }
  return rows;
}

void add_layers(const Json& analyze, const std::string& source, Section& section) {
  auto rows = layer_cells(analyze, source);
  if (rows.empty()) return;
  const auto drafting = std::ranges::count_if(list_at(analyze, {"layers"}), [](const Json& layer) {
    return at(layer, {"is_mtp"}) == true;
  });
  const auto alt =
      fmt::format("{} layers, each with its kind of attention and of feed-forward{}.",
                  rows.size() / 2 - static_cast<std::size_t>(drafting),
                  drafting == 0 ? "" : fmt::format(", and {} that draft tokens (MTP)", drafting));
  section.picture(
      "layers", "Layer map", alt,
      picture_of(
          std::move(rows), 90,
          {{"mark", {{"type", "rect"}, {"stroke", "var(--paper, white)"}, {"strokeWidth", 0.5}}},
           {"encoding",
            {{"x",
              {{"field", "layer"},
               {"type", "quantitative"},
               {"title", "layer"},
               {"scale", {{"nice", false}}},
               {"axis", {{"tickMinStep", 1}, {"grid", false}}}}},
             {"x2", {{"field", "end"}}},
             {"y", {{"field", "part"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}}},
             {"color", field("kind", "nominal", "")},
             {"tooltip", tooltip({{"layer", "layer"},
                                  {"kind", "kind"},
                                  {"topk", "tokens selected"},
                                  {"drafts", "role"}})}}}}));
  auto runs = Json::array();
  for (const auto& run : list_at(analyze, {"layer_runs"})) {
    runs.push_back({{"first", at(run, {"first"})},
                    {"last", at(run, {"last"})},
                    {"count", at(run, {"count"})},
                    {"attention", at(run, {"attention"})},
                    {"mlp", at(run, {"mlp"})},
                    {"role", at(run, {"is_mtp"}) == true ? "drafts tokens (MTP)" : ""},
                    {"source", source}});
  }
  section.table("layers", "Runs of equal layers",
                {{"first", "first"},
                 {"last", "last"},
                 {"count", "layers"},
                 {"attention", "attention"},
                 {"mlp", "feed-forward"},
                 {"role", "role"}},
                std::move(runs));
}

void add_weights(const Json& analyze, const std::string& source, Section& section) {
  auto rows = Json::array();
  const bool estimated = at(analyze, {"weights", "approximate"}) == true;
  for (const auto& part : list_at(analyze, {"weights", "parts"})) {
    const bool mtp = at(part, {"is_mtp"}) == true;
    const double gib = number_at(part, {"bytes"}) / (1 << 30);
    rows.push_back({{"part", spaced(text_at(part, {"part"})) + (mtp ? " (MTP)" : "")},
                    {"parameters", at(part, {"parameters"})},
                    {"active", at(part, {"active_parameters"})},
                    {"gib", gib},
                    {"label", gib < 0.01 ? "< 0.01" : fmt::format("{:.3g}", gib)},
                    {"source", source + (estimated ? ", estimated" : ", exact")}});
  }
  if (rows.empty()) return;
  const std::vector<Section::Column> columns = {{"part", "part"},
                                                {"parameters", "parameters"},
                                                {"active", "active a token"},
                                                {"gib", "GiB stored"}};
  // One part is most of the model: the others are read by their numbers, largest first.
  std::stable_sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    return number_at(a, {"gib"}) > number_at(b, {"gib"});
  });
  const Json y = {{"field", "part"}, {"type", "nominal"}, {"title", nullptr}, {"sort", nullptr}};
  auto x = field("gib", "quantitative", "GiB stored");
  x["scale"] = room_beside(number_at(rows.front(), {"gib"}));
  section.picture(
      "weights", "Weights by part", "GiB of each part of the model, as stored.",
      picture_of(
          rows, 280,
          {{"layer",
            {{{"mark", "bar"}, {"encoding", {{"y", y}, {"x", x}, {"tooltip", tooltip(columns)}}}},
             {{"mark", {{"type", "text"}, {"align", "left"}, {"dx", 4}}},
              {"encoding",
               {{"y", y}, {"x", x}, {"text", {{"field", "label"}, {"type", "nominal"}}}}}}}}}));
  section.table("weights", "Weights by part", columns, std::move(rows));
}

void add_cache(const Json& analyze, const std::string& source, Section& section) {
  auto rows = Json::array();
  for (const char* format : {"bf16", "fp8"}) {
    const auto& cache = at(analyze, {"cache", format});
    if (!cache.is_object()) continue;
    rows.push_back({{"format", format},
                    {"layer_kv", at(cache, {"layer_kv_bytes_per_token"})},
                    {"layer_index", at(cache, {"layer_index_bytes_per_token"})},
                    {"total", at(cache, {"total_bytes_per_token"})},
                    {"source", source}});
  }
  section.table("cache", "Cache, bytes a token",
                {{"format", "format"},
                 {"layer_kv", "a layer: KV row"},
                 {"layer_index", "a layer: index key"},
                 {"total", "whole model"}},
                std::move(rows));
}

void add_nearest(const Json& analyze, Section& section) {
  for (const char* key : {"against", "nearest"}) {
    const auto& other = at(analyze, {key});
    if (!other.is_object()) continue;
    section.say(
        fmt::format("{}: {}.",
                    list_at(other, {"groups"}).empty() ? "A known model" : "Nearest known model",
                    text_at(other, {"verdict"})),
        "config.json of both");
    auto rows = Json::array();
    for (const auto& group : list_at(other, {"groups"})) {
      for (const auto& difference : list_at(group, {"differences"})) {
        rows.push_back({{"meaning", spaced(text_at(group, {"meaning"}))},
                        {"what", at(difference, {"what"})},
                        {"this", at(difference, {"this"})},
                        {"other", at(difference, {"other"})},
                        {"source", "config.json of both"}});
      }
    }
    section.table("differences", "What differs from " + text_at(other, {"name"}),
                  {{"meaning", "meaning"}, {"what", "what"}, {"this", "here"}, {"other", "there"}},
                  std::move(rows));
    return;
  }
}

}  // namespace

Section model_section(const Json& evidence) {
  Section section("model", "The model");
  const auto& analyze = document_of(evidence, "analyze");
  if (!analyze.is_object()) return section;
  const std::string source = "config.json";
  add_nearest(analyze, section);
  add_layers(analyze, source, section);
  add_weights(analyze, source, section);
  add_cache(analyze, source, section);
  auto facts = Json::array();
  for (const auto& [key, value] : at(analyze, {"facts"}).items()) {
    facts.push_back({{"fact", spaced(key)}, {"value", value}, {"source", source}});
  }
  section.table("facts", "Facts", {{"fact", "fact"}, {"value", "value"}}, std::move(facts));
  return section;
}

}  // namespace dsaperf::report::integration
