#include "dsaperf/report/integration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace dsaperf::report {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

Json stage(const char* name, double us) {
  return {{"name", name},      {"time_us", us},    {"bound_us", us / 2}, {"bound_by", "memory"},
          {"binds", "math"},   {"error", 1e-4},    {"tolerance", 1e-3},  {"passed", true},
          {"flops", us * 1e6}, {"bytes", us * 1e3}};
}

// What the commands print of a model with two layers, shortened to what the report reads.
Json documents() {
  const Json stages = Json::array({stage("q_b_projection", 10), stage("attention", 30)});
  const Json layer = {{"index", 0},
                      {"is_mtp", false},
                      {"attention", "dsa"},
                      {"indexer_role", "full"},
                      {"mlp", "moe"},
                      {"indexer", {{"heads", 64}, {"dim", 128}, {"topk", 2048}}},
                      {"stages", {"q_b_projection", "attention"}}};
  const Json measured = Json::array({{{"backend", "sglang"},
                                      {"version", "0.5.14"},
                                      {"kv_cache_dtype", "fp8"},
                                      {"gemm_dtype", "fp8_block"},
                                      {"latency_us", 100.0},
                                      {"source", "measured"}}});
  const Json pass = {
      {"stages", stages},
      {"bound_us", 20.0},
      {"heads", 16},
      {"requests", Json::array({{{"count", 1}, {"new_tokens", 4096}, {"past_tokens", 0}}})},
      {"peak_bytes_per_s", 4e12},
      {"peak_flop_per_s", {{"bf16", 1e15}}},
      {"measured", measured}};
  const Json candidate = {{"backend", "sglang"},
                          {"version", "0.5.14"},
                          {"layout", "tp8"},
                          {"tp", 8},
                          {"gpus", 8},
                          {"concurrency", 16},
                          {"ttft_ms", 500.0},
                          {"tpot_ms", 20.0},
                          {"output_tok_s_per_user", 50.0},
                          {"output_tok_s_per_cluster_gpu", 100.0},
                          {"binds", "tpot"},
                          {"launch", "sglang --tp 8"}};
  return {
      {"analyze",
       {{"name", "some/Model"},
        {"facts",
         {{"sparse", true},
          {"sparse_layers", 1},
          {"layers", 1},
          {"index_topk", 2048},
          {"architecture", "SomeForCausalLM"}}},
        {"layers", Json::array({layer})},
        {"layer_runs", Json::array({{{"first", 0}, {"last", 0}, {"count", 1}}})},
        {"weights",
         {{"parts", Json::array({{{"part", "attention"}, {"parameters", 7}, {"bytes", 14}}})},
          {"total", {{"parameters", 7e9}, {"active_parameters", 1e9}}}}},
        {"aiconfigurator",
         {{"architecture", "SomeForCausalLM"}, {"family", ""}, {"needs", {"a table"}}}},
        {"warnings", {"a field was not understood"}}}},
      {"run",
       {{"layer", 0},
        {"device", "cpu"},
        {"device_name", "2 threads"},
        {"regime", "sparse"},
        {"heads", 16},
        {"time_us", 40.0},
        {"stages", stages},
        {"check", {{"passed", true}, {"tokens", 4}}}}},
      {"prefill.h200_sxm", pass},
      {"decode.h200_sxm", pass},
      {"latency.h200_sxm",
       {{"rows", Json::array({{{"phase", "context"},
                               {"backend", "sglang"},
                               {"new_tokens_or_seq", 1024},
                               {"predicted_ms", 0.8},
                               {"predicted_low_ms", 0.7},
                               {"predicted_high_ms", 0.9},
                               {"predicted_source", "measured"}}})}}},
      {"sweep.h200_sxm",
       {{"candidates", Json::array({candidate})}, {"pareto", Json::array({candidate})}}},
      {"estimate.h200_sxm",
       {{"backend", "sglang"},
        {"version", "0.5.14"},
        {"concurrency", 8},
        {"ttft_ms", 600.0},
        {"tpot_ms", 21.0},
        {"output_tok_s_per_gpu", 90.0},
        {"memory", {{"total", 100.0}, {"weights", 80.0}, {"kv_cache", 20.0}}},
        {"capacity", {{"card_gib", 141.0}}}}},
      {"accuracy",
       {{"rows", Json::array({{{"left_out", "point"},
                               {"method", "stages"},
                               {"architecture", "SomeForCausalLM"},
                               {"gemm_dtype", "fp8_block"},
                               {"measured_ms", 1.0},
                               {"predicted_ms", 1.02}}})}}},
  };
}

Json evidence() {
  return {{"model", "some/Model"},
          {"config", "model.json"},
          {"program", "dsaperf test"},
          {"options", {{"systems", {"h200_sxm"}}, {"gpus", 8}, {"isl", 4096.0}, {"osl", 1024.0}}},
          {"phases", Json::array({{{"name", "run"},
                                   {"state", "done"},
                                   {"reason", ""},
                                   {"commands", Json::array({{{"line", "dsaperf run"}}})}}})},
          {"documents", documents()}};
}

const Json& answer(const Json& document, std::string_view name) {
  for (const auto& each : document["answers"]) {
    if (each["name"] == name) return each;
  }
  static const Json kNone;
  return kNone;
}

std::set<std::string> picture_names(const Json& document) {
  std::set<std::string> names;
  for (const auto& section : document["sections"]) {
    for (const auto& picture : section["pictures"])
      names.insert(picture["name"].get<std::string>());
  }
  return names;
}

TEST(IntegrationReportTest, AnswersSixQuestions) {
  const auto document = integration_document(evidence());
  ASSERT_EQ(document["answers"].size(), 6U);
  EXPECT_EQ(answer(document, "model")["answer"],
            "Sparse attention in 1 of 1 layers, top 2048 tokens");
  EXPECT_EQ(answer(document, "right")["answer"], "Yes: 2 of 2 stages");
  // The layer that ran is ours: its stages prove nothing of a served one.
  EXPECT_EQ(answer(document, "align")["tone"], "plain");
  EXPECT_EQ(answer(document, "align")["answer"], "Stages are complete; kernels not compared");
  EXPECT_EQ(answer(document, "speed")["answer"], "First token 600 ms, then 21.0 ms a token");
  EXPECT_EQ(answer(document, "limits")["answer"], "Attention: 75 % of prefill, 75 % of decode");
  EXPECT_EQ(answer(document, "deploy")["answer"], "sglang on 8 x h200_sxm: tp 8");
}

TEST(IntegrationReportTest, ATimeBeyondATablesRowsIsNoAnswerWhereAnotherIsMeasured) {
  auto found = evidence();
  auto& measured = found["documents"]["decode.h200_sxm"]["measured"];
  auto beyond = measured[0];
  beyond["latency_us"] = 10.0;
  beyond["source"] = "extrapolated";
  measured.insert(measured.begin(), beyond);
  const auto detail = [&] {
    return answer(integration_document(found), "speed")["detail"].get<std::string>();
  };
  EXPECT_THAT(detail(), HasSubstr("after 0 tokens 100 us (sglang 0.5.14, measured)."));
  measured.erase(1);
  EXPECT_THAT(detail(), HasSubstr("after 0 tokens 10.0 us (sglang 0.5.14, extrapolated)."));
}

TEST(IntegrationReportTest, WhatLimitsIsTheStageThatTakesTheTimeNotTheOneOfTheLargestBound) {
  auto given = evidence();
  given["documents"]["prefill_model.h200_sxm"] = {
      {"explanation",
       {{"stages",
         Json::array(
             {{{"name", "topk"}, {"time_ms", 0.09}, {"bound_ms", 0.01}, {"binds", "memory"}},
              {{"name", "attention"}, {"time_ms", 0.03}, {"bound_ms", 0.03}, {"binds", "math"}},
              {{"name", "launches"}, {"time_ms", 0.03}, {"bound_ms", 0.0}, {"binds", ""}}})}}}};
  const auto document = integration_document(given);
  const auto& limits = answer(document, "limits");
  EXPECT_EQ(limits["answer"], "Topk: 60 % of prefill, attention: 75 % of decode");
  EXPECT_THAT(limits["detail"].get<std::string>(),
              HasSubstr("Prefill: topk takes 9.0 times its bound (memory), the layer 5.0 times."));
}

TEST(IntegrationReportTest, OfAModelWithoutSparseLayersTheRestDoesNotApply) {
  auto given = evidence();
  given["documents"] = {{"analyze", {{"facts", {{"sparse", false}, {"layers", 32}}}}}};
  given["phases"] = {{{"name", "run"}, {"state", "failed"}, {"reason", "layer 0 is gqa"}},
                     {{"name", "align"}, {"state", "done"}, {"reason", ""}}};
  const auto document = integration_document(given);
  EXPECT_EQ(answer(document, "model")["answer"], "32 layers, none of them sparse");
  EXPECT_THAT(answer(document, "model")["detail"].get<std::string>(), HasSubstr("index_n_heads"));
  EXPECT_EQ(answer(document, "right")["answer"], "Does not apply");
  EXPECT_EQ(answer(document, "right")["detail"], "layer 0 is gqa");
  EXPECT_EQ(answer(document, "align")["detail"], "There is nothing that could be compared.");
}

TEST(IntegrationReportTest, ALayerIsHeldAgainstTheBoundOfItsOwnCache) {
  auto given = evidence();
  auto& documents = given["documents"];
  documents["prefill.h200_sxm"]["kv_cache_dtype"] = "fp8";
  documents["prefill_tables.h200_sxm"] = documents["prefill.h200_sxm"];
  auto bf16 = documents["prefill.h200_sxm"]["measured"][0];
  bf16["kv_cache_dtype"] = "bfloat16";
  documents["prefill_tables.h200_sxm"]["measured"].push_back(bf16);
  const auto document = integration_document(given);
  for (const auto& section : document["sections"]) {
    for (const auto& table : section["tables"]) {
      if (table["name"] != "layer") continue;
      EXPECT_EQ(table["rows"][0]["times"], 5.0);
      EXPECT_TRUE(table["rows"][1]["times"].is_null());
      return;
    }
  }
  FAIL() << "no table of the whole layer";
}

TEST(IntegrationReportTest, OfACardWithoutTablesBoundsAreDrawnAlone) {
  const auto document = integration_document(evidence());  // nothing in it has modelled times
  for (const auto& section : document["sections"]) {
    for (const auto& picture : section["pictures"]) {
      if (picture["name"] != "stages_prefill_h200_sxm") continue;
      EXPECT_EQ(picture["spec"]["layer"].size(), 1U);
      EXPECT_EQ(picture["spec"]["layer"][0]["mark"]["type"], "bar");
      return;
    }
  }
  FAIL() << "no picture of the stages";
}

TEST(IntegrationReportTest, NoLayerOfAPictureIsWithoutPoints) {
  auto given = evidence();
  const auto layers = [&] {
    const auto document = integration_document(given);
    for (const auto& section : document["sections"]) {
      for (const auto& picture : section["pictures"]) {
        if (picture["name"] == "latency_prefill_h200_sxm") return picture["spec"]["layer"].dump();
      }
    }
    return std::string("none");
  };
  EXPECT_THAT(layers(), HasSubstr("\"datum.measured\""));
  EXPECT_EQ(layers().find("\"!datum.measured\""), std::string::npos);
  given["documents"]["latency.h200_sxm"]["rows"][0]["predicted_source"] = "interpolated";
  EXPECT_THAT(layers(), HasSubstr("\"!datum.measured\""));
  EXPECT_EQ(layers().find("\"datum.measured\""), std::string::npos);
}

TEST(IntegrationReportTest, SaysWhyNoLayoutIsLeft) {
  auto given = evidence();
  auto& sweep = given["documents"]["sweep.h200_sxm"];
  sweep["candidates"] = Json::array();
  sweep["rejected"] = {{{"layout", "tp1"}, {"reason", "does not fit"}},
                       {{"layout", "tp2"}, {"reason", "the table cannot be read"}},
                       {{"layout", "tp4"}, {"reason", "the table cannot be read"}}};
  const auto document = integration_document(given);
  EXPECT_EQ(answer(document, "deploy")["answer"], "No layout is left");
  EXPECT_EQ(answer(document, "deploy")["detail"],
            "3 layouts were left out, 2 of them for: the table cannot be read.");
}

TEST(IntegrationReportTest, SaysWhatWasMeasured) {
  auto given = evidence();
  auto& collect = given["documents"]["collect"];
  collect = {{"system", "h200_sxm"}, {"cases", {"a", "b", "c"}}};
  EXPECT_THAT(integration_document(given).dump(), HasSubstr("Nothing was measured now"));
  collect["report"] = {{"measured", 2}, {"found", 1}, {"failed", 0}};
  EXPECT_THAT(integration_document(given).dump(),
              HasSubstr("2 of 3 cases of the standard grid were measured now, 1 had been before"));
}

TEST(IntegrationReportTest, NamesAWarningOfTwoCommandsOnce) {
  auto given = evidence();
  given["documents"]["prefill.h200_sxm"]["warnings"] = {"an assumption"};
  given["documents"]["decode.h200_sxm"]["warnings"] = {"an assumption"};
  const auto warnings = integration_document(given)["warnings"];
  EXPECT_EQ(std::count(warnings.begin(), warnings.end(),
                       "prefill.h200_sxm, decode.h200_sxm: an assumption"),
            1);
}

TEST(IntegrationReportTest, DrawsEveryPictureFromDataThatItHolds) {
  const auto document = integration_document(evidence());
  EXPECT_EQ(picture_names(document),
            (std::set<std::string>{"layers", "weights", "run_stages", "stage_list",
                                   "stages_prefill_h200_sxm", "stages_decode_h200_sxm",
                                   "latency_prefill_h200_sxm", "roofline_h200_sxm", "timeline",
                                   "memory", "pareto_h200_sxm", "accuracy"}));
  for (const auto& section : document["sections"]) {
    for (const auto& picture : section["pictures"]) {
      const auto& spec = picture["spec"];
      EXPECT_EQ(spec["$schema"], "https://vega.github.io/schema/vega-lite/v6.json");
      EXPECT_FALSE(spec["data"]["values"].empty()) << picture["name"];
      EXPECT_TRUE(spec.contains("mark") || spec.contains("layer")) << picture["name"];
      EXPECT_FALSE(spec["description"].empty());
    }
  }
}

TEST(IntegrationReportTest, EveryRowNamesItsSource) {
  const auto document = integration_document(evidence());
  for (const auto& section : document["sections"]) {
    for (const auto& said : section["text"]) {
      EXPECT_FALSE(said["source"].get<std::string>().empty()) << said["line"];
    }
    for (const auto& table : section["tables"]) {
      EXPECT_EQ(table["columns"].back()["key"], "source") << table["name"];
      for (const auto& row : table["rows"]) {
        ASSERT_TRUE(row.contains("source")) << table["name"];
        EXPECT_FALSE(row["source"].get<std::string>().empty()) << table["name"];
      }
    }
  }
}

TEST(IntegrationReportTest, AStageThatIsNotRunIsMissing) {
  auto given = evidence();
  given["documents"]["run"]["stages"].erase(1);
  const auto document = integration_document(given);
  EXPECT_EQ(answer(document, "align")["tone"], "bad");
}

TEST(IntegrationReportTest, ALayerOfACpuIsDrawnInMilliseconds) {
  const auto axis = [](const Json& given) {
    const auto document = integration_document(given);
    for (const auto& section : document["sections"]) {
      for (const auto& picture : section["pictures"]) {
        if (picture["name"] == "run_stages")
          return picture["spec"]["layer"][0]["encoding"]["x"]["title"].get<std::string>();
      }
    }
    return std::string("none");
  };
  auto given = evidence();
  given["documents"]["run"]["time_us"] = 450.0;
  EXPECT_EQ(axis(given), "us");
  given["documents"]["run"]["time_us"] = 185'000.0;
  EXPECT_EQ(axis(given), "ms");
}

TEST(IntegrationReportTest, AReferenceIsComparedBeforeTheRun) {
  auto given = evidence();
  given["documents"]["reference"] = {
      {"file", "served.json"},
      {"stages",
       Json::array({{{"name", "gemm"}, {"calls", 1}, {"time_ns", 5.0}, {"share", 0.5}},
                    {{"name", "attention"}, {"calls", 1}, {"time_ns", 5.0}, {"share", 0.5}}})}};
  const auto document = integration_document(given);
  EXPECT_EQ(answer(document, "align")["source"], "served.json");
  EXPECT_EQ(answer(document, "align")["tone"], "good");
  EXPECT_TRUE(picture_names(document).contains("reference"));
}

TEST(IntegrationReportTest, WithoutAPhaseSaysWhyAndDrawsTheRest) {
  auto given = evidence();
  given["documents"].erase("run");
  given["phases"][0] = {{"name", "run"},
                        {"state", "failed"},
                        {"reason", "out of memory"},
                        {"commands", Json::array()}};
  const auto document = integration_document(given);
  EXPECT_EQ(answer(document, "right")["tone"], "unknown");
  EXPECT_EQ(answer(document, "right")["detail"], "out of memory");
  EXPECT_TRUE(picture_names(document).contains("layers"));
}

// Replaces every value of a document, one at a time, by something of another type.
void each_damage(Json& root, Json& here, int depth) {
  if (depth > 4) return;
  for (auto& [key, value] : here.items()) {
    const Json whole = value;
    for (const Json& other :
         {Json(), Json("text"), Json(-1), Json::array({1, "x"}), Json::object()}) {
      value = other;
      const auto document = integration_document(root);
      EXPECT_EQ(document["answers"].size(), 6U) << key;
      EXPECT_FALSE(integration_markdown(document).empty());
    }
    value = whole;
    if (value.is_structured()) each_damage(root, value, depth + 1);
  }
}

TEST(IntegrationReportTest, SurvivesDocumentsOfAnyShape) {
  auto given = evidence();
  each_damage(given, given, 0);
}

TEST(IntegrationPageTest, HoldsEverythingAndNothingFromForeignText) {
  auto given = evidence();
  given["model"] = "<script>alert(1)</script>";
  given["documents"]["analyze"]["warnings"] = {"</script><b>"};
  const auto page = integration_page(integration_document(given));
  EXPECT_LT(page.size(), 3U << 20);
  EXPECT_NE(page.find("<dt><a href=\"#run\">Is the layer right?</a></dt>"), std::string::npos);
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  EXPECT_EQ(page.find("</script><b>"), std::string::npos);
  EXPECT_NE(page.find("window.vegaEmbed"), std::string::npos);
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  EXPECT_EQ(page.find("href=\"http"), std::string::npos);
}

TEST(AlignmentPageTest, HasTheKernelsSideBySide) {
  const Json align = {{"verdict", "not_aligned"},
                      {"mock", {{"file", "layer.json"}}},
                      {"reference", {{"file", "served.json"}}},
                      {"stages", Json::array({{{"title", "top-k"},
                                               {"state", "missing"},
                                               {"times", {{"mock_ns", 0}, {"reference_ns", 5000}}},
                                               {"decisive", true}}})}};
  const auto document = alignment_document(align);
  EXPECT_EQ(answer(document, "align")["answer"], "No");
  EXPECT_EQ(picture_names(document), std::set<std::string>{"align"});
  const auto& bars = document["sections"][0]["pictures"][0]["spec"]["data"]["values"];
  ASSERT_EQ(bars.size(), 2U);
  EXPECT_EQ(bars[1]["of"], "served model");
  EXPECT_EQ(bars[1]["us"], 5.0);
  EXPECT_EQ(bars[1]["source"], "measured: served.json");
}

TEST(IntegrationTablesTest, AreCsvWithASource) {
  const auto tables = integration_tables(integration_document(evidence()));
  ASSERT_FALSE(tables.empty());
  for (const auto& table : tables) {
    const auto header = table.text.substr(0, table.text.find('\n'));
    EXPECT_TRUE(header.ends_with(",source")) << table.name;
  }
}

TEST(AiconfiguratorChangeTest, OfAnUnknownArchitectureNamesTablesKeysFormulasAndMemory) {
  const auto text = aiconfigurator_change(evidence());
  ASSERT_TRUE(text.has_value());
  for (const char* needed : {"`SomeForCausalLM` is not known", "dsa_context_module_perf.parquet",
                             "`latency` | DOUBLE | ms", "2 P heads (2 kv_lora + rope)",
                             "index_topk | 2048", "Grid", "Memory", "a table"}) {
    EXPECT_NE(text->find(needed), std::string::npos) << needed;
  }
  EXPECT_FALSE(aiconfigurator_change(Json::object()).has_value());
}

}  // namespace
}  // namespace dsaperf::report
