#include "query_stages.hpp"

#include "document.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/layer_predictor.hpp"
#include "dsaperf/report/layer_cost.hpp"
#include "dsaperf/serving/deployment.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>

namespace dsaperf::tool {
namespace {

// Rows of every backend that has tables for the system; what lacks them says so in a warning.
void add_measured(const StagesQuestion& question, const model::ModelSpec& spec,
                  report::LayerCostReport& report) {
  auto tree = perfdb::SystemsTree::discover(question.systems_root);
  const auto shape = serving::ModelShape::of(spec);
  if (!tree || !shape) {
    report.warnings.push_back("no measured rows: " +
                              (tree ? shape.error().message() : tree.error().message()));
    return;
  }
  const auto backends = tree->backends(question.system);
  if (!backends) {
    report.warnings.push_back(backends.error().code() == Errc::kNotFound
                                  ? fmt::format("{} has no tables of {}: no measured rows",
                                                tree->root().native(), question.system)
                                  : "no measured rows: " + backends.error().message());
    return;
  }
  predict::LayerPredictor predictor(std::make_shared<const perfdb::SystemsTree>(*std::move(tree)),
                                    predict::Method::kCompatible);
  const auto formats = serving::formats_of(spec, {}, false);
  const bool context = question.phase == "context";
  const predict::LayerShape asked{
      .phase = context ? perfdb::Phase::kContext : perfdb::Phase::kGeneration,
      .heads = report.shape.heads,
      .batch = question.batch,
      .new_tokens = context ? question.new_tokens : 1,
      .past_tokens = question.past_tokens};
  for (const auto& backend : *backends) {
    for (const std::string kv : {"bfloat16", "fp8"}) {
      if (!question.kv.empty() && kv != question.kv) continue;
      const predict::Tables tables{.system = question.system, .backend = backend, .version = ""};
      const predict::LayerKind kind{
          .architecture = shape->architecture, .kv_dtype = kv, .gemm_dtype = formats.attention};
      const auto latency = predictor.at(tables, kind, asked);
      if (!latency) continue;
      report.measured.push_back({.backend = backend,
                                 .version = predictor.version(tables).value_or(""),
                                 .kv_dtype = kv,
                                 .gemm_dtype = formats.attention,
                                 .time = latency->time,
                                 .source = std::string(predict::name(latency->source))});
    }
  }
}

}  // namespace

Result<ExitCode> query_stages(const StagesQuestion& question) {
  DSAPERF_TRY_ASSIGN(const auto spec, model::load_model(question.config));
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  report::LayerCostReport report;
  report.model = spec.name;
  report.warnings = spec.warnings;
  DSAPERF_TRY_ASSIGN(report.system, cost::find_system(data, question.system));
  const auto& layer = model::typical_layer(spec);
  const int heads = question.heads > 0 ? question.heads : layer.geometry.heads;
  if (!question.kv.empty() && question.kv != "bfloat16" && question.kv != "fp8")
    return fail(Errc::kInvalidArgument, "--kv '{}': bfloat16 or fp8 is due", question.kv);
  const auto kv = question.kv == "bfloat16" ? model::KvFormat::kBf16 : model::KvFormat::kFp8;
  const bool context = question.phase == "context";
  report.shape = context ? cost::Shape::prefill(question.batch, question.new_tokens,
                                                question.past_tokens, heads, kv)
                         : cost::Shape::decode(question.batch, question.new_tokens,
                                               question.past_tokens, heads, kv);
  report.title =
      fmt::format("{}, {} x {} new tokens after {} cached, {} heads, {} cache",
                  context ? "prefill" : "decode", question.batch, question.new_tokens,
                  question.past_tokens, heads, kv == model::KvFormat::kFp8 ? "fp8" : "bf16");
  DSAPERF_TRY_ASSIGN(report.cost, cost::layer_cost(layer, report.shape));
  add_measured(question, spec, report);
  for (const auto& warning : report.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (question.json)
    print_document(report::json(report));
  else
    std::fputs(report::text(report, TextStyle::of_descriptor(1)).c_str(), stdout);
  return ExitCode::kDone;
}

}  // namespace dsaperf::tool
