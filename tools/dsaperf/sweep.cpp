#include "sweep.hpp"

#include "config_flag.hpp"
#include "document.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/opened_tables.hpp"
#include "dsaperf/report/sweep.hpp"
#include "dsaperf/serving/sweep.hpp"
#include "dtype_flag.hpp"
#include "length_flags.hpp"
#include "quirks_flag.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>

namespace dsaperf::tool {
namespace {

struct SweepOptions {
  std::string config, systems_root;
  std::string system = "h200_sxm", backend, version;
  std::string method = "model", mode = "both", quirks = "all", csv;
  double ttft = 0, tpot = 0;
  int top = 10;
  bool json = false;
  serving::SweepInputs inputs;
};

Result<ExitCode> run_sweep(SweepOptions options) {
  using serving::Engine;
  auto& in = options.inputs;
  in.method =
      options.method == "compatible" ? serving::Method::kCompatible : serving::Method::kModel;
  DSAPERF_TRY_ASSIGN(in.quirks, serving::Quirks::parse(options.quirks));
  in.aggregated = options.mode != "disagg";
  in.disaggregated = options.mode != "agg";
  if (options.ttft > 0) in.ttft_limit_ms = options.ttft;
  if (options.tpot > 0) in.tpot_limit_ms = options.tpot;
  std::vector<Engine> engines = {Engine::kSglang, Engine::kVllm, Engine::kTrtllm};
  if (!options.backend.empty()) {
    DSAPERF_TRY_ASSIGN(const auto engine, serving::engine_from_name(options.backend));
    engines = {engine};
  }
  DSAPERF_TRY_ASSIGN(const auto spec, model::load_model(options.config));
  DSAPERF_TRY_ASSIGN(const auto opened, predict::open_tables(options.systems_root, options.backend,
                                                             !options.backend.empty()));
  if (opened.are_ours()) engines.resize(1);  // all would find the same table
  const auto open = [&](Engine engine) {
    return opened.operators(options.system, name(engine), options.version);
  };
  DSAPERF_TRY_ASSIGN(auto result, serving::sweep(spec, engines, open, in));
  std::ranges::copy(opened.warnings(options.system), std::back_inserter(result.warnings));
  for (const auto& warning : result.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (!options.csv.empty()) DSAPERF_TRY(write_file(options.csv, report::csv(result)));
  if (options.json)
    print_document(report::json(result));
  else
    std::fputs(report::text(result, options.top, TextStyle::of_descriptor(1)).c_str(), stdout);
  return ExitCode::kDone;
}

void declare_sweep(Command& command) {
  auto options = std::make_shared<SweepOptions>();
  auto& in = options->inputs;
  add_config(command, options->config).required();
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "Card").show_default();
  command.add_option("--gpus", in.gpus, "GPUs to use").between(1, 1024).show_default();
  add_lengths(command, in.isl, in.osl);
  command.option("--isl").required();
  command.option("--osl").required();
  add_prefix(command, in.prefix);
  command.add_option("--backend", options->backend, "Engine (default: all that have tables)")
      .one_of({"sglang", "vllm", "trtllm"});
  command.add_option("--version", options->version,
                     "current, previous, next or a number (default: current)");
  command
      .add_option("--ttft", options->ttft,
                  "Longest time to the first token, ms (default: no limit)")
      .not_negative();
  command.add_option("--tpot", options->tpot, "Longest time a token, ms (default: no limit)")
      .not_negative();
  command.add_option("--kv", in.formats.kv,
                     "Cache: bfloat16 (or bf16), fp8 (default: the engine's)");
  command.add_option("--gemm", in.formats.gemm, "Projections (default: the checkpoint's)");
  command.add_option("--method", options->method, "model, or compatible: aiconfigurator's own rows")
      .one_of({"model", "compatible"})
      .show_default();
  command
      .add_option("--mode", options->mode,
                  "agg: prefill and decode in one worker; disagg: in workers of their own; both")
      .one_of({"agg", "disagg", "both"})
      .show_default();
  command
      .add_option("--simulate", in.simulate,
                  "Candidates that are simulated as well, the best first (percentiles)")
      .between(0, 1000)
      .show_default();
  command.add_option("--threads", in.threads, "0: as many as the machine has")
      .between(0, 1024)
      .show_default();
  command.add_option("--top", options->top, "Rows to print").not_negative().show_default();
  add_quirks(command, options->quirks);
  command.add_option("--csv", options->csv,
                     "Also write the Pareto front (of --mode disagg the disaggregated one, else "
                     "the aggregated), in aiconfigurator's columns");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf sweep zai-org/GLM-5-FP8 --system h200_sxm --gpus 8 --isl 4096 --osl "
      "1024 --ttft 3000 --tpot 40");
  command.check([&command, options]() -> Result<void> {
    if (options->method == "compatible") return {};
    return command.check_none_given("--method " + options->method, {"--quirks"});
  });
  command.callback([options] {
    spell_as_tables_do({&options->inputs.formats.kv, &options->inputs.formats.gemm});
    return run_sweep(*options);
  });
}

}  // namespace

void add_sweep(Command& app) {
  app.add_command("sweep",
                  "Every layout of a model on N GPUs: the best ones, and why not the others",
                  declare_sweep);
}

}  // namespace dsaperf::tool
