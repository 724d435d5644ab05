#include "db.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/modelled/cost_fit.hpp"
#include "dsaperf/serving/modelled_passes.hpp"
#include "systems_flag.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

namespace modelled = predict::modelled;
using Align = TextTable::Align;
using serving::Engine;

constexpr std::array kModels = {"deepseek-ai/DeepSeek-V3.2", "zai-org/GLM-5-FP8"};
constexpr std::array kEngines = {Engine::kSglang, Engine::kVllm, Engine::kTrtllm};

struct DbModelledOptions {
  std::string systems_root, system = "h200_sxm", backend = "sglang";
  bool fit = false, json = false;
};

struct OperatorError {
  std::string backend, op, format;
  modelled::CostError error;
};

std::string percent(double value) {
  return fmt::format("{:.1f} %", 100 * value);
}

std::string text(const std::vector<OperatorError>& operators,
                 const std::vector<serving::ModelledPasses>& passes, const TextStyle& style) {
  TextTable errors({{.title = "operator"},
                    {.title = "rows of"},
                    {.title = "rows", .align = Align::kRight},
                    {.title = "median", .align = Align::kRight},
                    {.title = "mean", .align = Align::kRight},
                    {.title = "p90", .align = Align::kRight},
                    {.title = "bias", .align = Align::kRight}});
  for (const auto& [backend, op, format, error] : operators)
    errors.add_row({fmt::format("{} {}", op, format), backend, std::to_string(error.rows),
                    percent(error.median), percent(error.mean), percent(error.p90),
                    percent(error.bias)});
  TextTable whole({{.title = "whole passes"},
                   {.title = "rows of"},
                   {.title = "passes", .align = Align::kRight},
                   {.title = "median", .align = Align::kRight},
                   {.title = "largest", .align = Align::kRight},
                   {.title = "bias", .align = Align::kRight}});
  for (const auto& pass : passes)
    whole.add_row({pass.model + (pass.is_prefill ? ", prefill" : ", decode"),
                   std::string(name(pass.engine)), std::to_string(pass.passes),
                   percent(pass.median), percent(pass.largest), percent(pass.bias)});
  return errors.str(style) + "\n" + whole.str(style);
}

nlohmann::ordered_json json(const std::string& system, const std::vector<OperatorError>& operators,
                            const std::vector<serving::ModelledPasses>& passes) {
  auto errors = nlohmann::ordered_json::array();
  for (const auto& [backend, op, format, error] : operators)
    errors.push_back({{"operator", op},
                      {"format", format},
                      {"backend", backend},
                      {"rows", error.rows},
                      {"median", error.median},
                      {"mean", error.mean},
                      {"p90", error.p90},
                      {"bias", error.bias}});
  auto whole = nlohmann::ordered_json::array();
  for (const auto& pass : passes)
    whole.push_back({{"model", pass.model},
                     {"backend", name(pass.engine)},
                     {"phase", pass.is_prefill ? "prefill" : "decode"},
                     {"passes", pass.passes},
                     {"median", pass.median},
                     {"largest", pass.largest},
                     {"bias", pass.bias}});
  return {{"format", "dsaperf.modelled.1"},
          {"system", system},
          {"operators", errors},
          {"passes", whole}};
}

Result<ExitCode> run_modelled(const DbModelledOptions& options) {
  DSAPERF_TRY_ASSIGN(auto found, perfdb::SystemsTree::discover(options.systems_root));
  const auto tree = std::make_shared<const perfdb::SystemsTree>(std::move(found));
  std::vector<model::ModelSpec> specs;
  std::vector<modelled::ExpertShape> experts;
  for (const char* name : kModels) {
    DSAPERF_TRY_ASSIGN(auto spec, model::load_model(name));
    experts.push_back({.hidden = spec.hidden,
                       .inter = spec.moe.intermediate,
                       .topk = spec.moe.experts_per_token,
                       .experts = spec.moe.routed_experts});
    specs.push_back(std::move(spec));
  }
  if (options.fit) {
    DSAPERF_TRY_ASSIGN(const auto fit,
                       modelled::fit_costs(*tree, options.system, options.backend, experts));
    std::fputs(modelled::csv(fit).c_str(), stdout);
    return ExitCode::kDone;
  }
  DSAPERF_TRY_ASSIGN(const auto costs, modelled::OperatorCosts::shipped());
  std::vector<OperatorError> operators;
  std::vector<serving::ModelledPasses> passes;
  for (const Engine engine : kEngines) {
    const std::string backend(name(engine));
    DSAPERF_TRY_ASSIGN(const auto samples,
                       modelled::cost_samples(*tree, options.system, backend, experts));
    for (const auto& [op, format, rows] : samples)
      operators.push_back({backend, op, format, cost_error(rows, costs.of(op, format))});
    for (const auto& spec : specs) {
      DSAPERF_TRY_ASSIGN(const auto compared,
                         serving::modelled_passes(tree, options.system, engine, spec));
      passes.insert(passes.end(), compared.begin(), compared.end());
    }
  }
  if (options.json) {
    print_document(json(options.system, operators, passes));
  } else {
    std::fputs(text(operators, passes, TextStyle::of_descriptor(1)).c_str(), stdout);
  }
  return ExitCode::kDone;
}

void declare_db_modelled(Command& command) {
  auto options = std::make_shared<DbModelledOptions>();
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "Card").show_default();
  const auto fit = command.add_flag("--fit", options->fit,
                                    "Derive the constants from the rows and print them as "
                                    "data/serving/modelled.csv has them");
  command.add_option("--backend", options->backend, "Whose rows --fit takes")
      .one_of({"sglang", "vllm", "trtllm"})
      .needs(fit)
      .show_default();
  command.add_flag("--json", options->json, "One JSON document").excludes(fit);
  command.footer(
      "Examples:\n  dsaperf db modelled\n  dsaperf db modelled --fit > data/serving/modelled.csv");
  command.callback([options] { return run_modelled(*options); });
}

}  // namespace

void add_db_modelled(Command& db) {
  db.add_command(
      "modelled",
      "How far modelled GEMMs, experts and collectives are from the rows of AIConfigurator",
      declare_db_modelled);
}

}  // namespace dsaperf::tool
