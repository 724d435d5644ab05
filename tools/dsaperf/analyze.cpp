#include "dsaperf/report/analyze.hpp"

#include "analyze.hpp"
#include "config_flag.hpp"
#include "dsaperf/model/analysis.hpp"
#include "dsaperf/model/load_model.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

namespace dsaperf::tool {
namespace {

// A path may hold bytes that are no UTF-8.
constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;

struct AnalyzeOptions {
  std::string config;
  std::string against;
  bool json = false;
  int tp = 1;
  int dp = 1;
  int ep = 1;
  std::int64_t chunk = 8192;
  std::int64_t context = 0;
  double budget_gib = 1;
};

Result<model::Analysis> analysis_of(const AnalyzeOptions& options) {
  DSAPERF_TRY_ASSIGN(auto spec, model::load_model(options.config));
  const model::AnalysisOptions wanted{
      .parallel = model::Parallel::of(options.tp, options.dp, options.ep),
      .chunk = options.chunk,
      .context = options.context,
      .score_budget = {static_cast<std::int64_t>(options.budget_gib * (1 << 30))}};
  if (!options.against.empty()) {
    DSAPERF_TRY_ASSIGN(const auto other, model::load_model(options.against));
    return model::analyse_against(std::move(spec), wanted, other);
  }
  DSAPERF_TRY_ASSIGN(const auto known, model::load_bundled_models());
  return model::analyse(std::move(spec), wanted, known);
}

Result<ExitCode> analyze(const AnalyzeOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto analysis, analysis_of(options));
  for (const auto& warning : analysis.spec.warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  const auto text = options.json
                        ? report::analyze_document(analysis).dump(1, ' ', false, kReplace) + '\n'
                        : report::analyze_text(analysis, TextStyle::of_descriptor(STDOUT_FILENO));
  std::fwrite(text.data(), 1, text.size(), stdout);
  return ExitCode::kDone;
}

void declare_analyze(Command& command) {
  auto options = std::make_shared<AnalyzeOptions>();
  add_config(command, options->config).required();
  command.add_option("--against", options->against, "Say what differs from this model")
      .type_name("CONFIG");
  command.add_option("--tp", options->tp, "Ranks that share the heads")
      .between(1, 4096)
      .show_default();
  command.add_option("--dp", options->dp, "Copies of the attention")
      .between(1, 4096)
      .show_default();
  command.add_option("--ep", options->ep, "Ranks that share the experts")
      .between(1, 4096)
      .show_default();
  command.add_option("--chunk", options->chunk, "New tokens of a prefill chunk")
      .between(std::int64_t{1}, std::int64_t{1} << 30)
      .show_default();
  command
      .add_option("--context", options->context,
                  "Tokens visible at the chunk's end; 0: the model's longest")
      .between(std::int64_t{0}, std::int64_t{1} << 30)
      .show_default();
  command.add_option("--score-budget-gib", options->budget_gib, "Memory for the indexer's scores")
      .between(0.0, 1e6)
      .show_default();
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Examples:\n"
      "  dsaperf analyze deepseek-ai/DeepSeek-V3.2 --tp 8\n"
      "  dsaperf analyze GLM-5.2/config.json --against zai-org/GLM-5-FP8");
  command.callback([options] { return analyze(*options); });
}

}  // namespace

void add_analyze(Command& app) {
  app.add_command("analyze",
                  "What is sparse in a model, layer by layer, and what an integration takes",
                  declare_analyze);
}

}  // namespace dsaperf::tool
