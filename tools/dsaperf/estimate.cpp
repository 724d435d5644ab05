#include "estimate.hpp"

#include "config_flag.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/opened_tables.hpp"
#include "dsaperf/report/estimate.hpp"
#include "dsaperf/serving/estimate.hpp"
#include "dsaperf/serving/estimate_file.hpp"
#include "dtype_flag.hpp"
#include "length_flags.hpp"
#include "quirks_flag.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::tool {
namespace {

struct EstimateOptions {
  std::string config, systems_root, from, output;
  std::string system = "h200_sxm", backend = "sglang", version;
  std::string mode = "agg", method = "model", quirks = "all";
  int moe_tp = 0;  // 0: tp * dp / ep
  int prefill_moe_tp = 0, decode_moe_tp = 0;
  double prefix_hit = 0, concurrency = 1;
  bool json = false;
  bool backend_is_given = false;
  serving::EstimateInputs inputs;
};

constexpr int kMostGpus = 1024;
constexpr int kMostContextParallel = 8;

serving::Mode mode_of(const std::string& name) {
  if (name == "static") return serving::Mode::kStatic;
  return name == "disagg" ? serving::Mode::kDisaggregated : serving::Mode::kInFlight;
}

using Tree = std::shared_ptr<const perfdb::SystemsTree>;

Result<ExitCode> run_file(const EstimateOptions& options, const Tree& tree) {
  DSAPERF_TRY_ASSIGN(const auto result,
                     serving::estimate_file(options.from, options.inputs,
                                            [&](const std::string& system, serving::Engine engine) {
                                              return predict::compatible::OperatorSet::open(
                                                  tree, system, name(engine), options.version);
                                            }));
  if (!options.output.empty()) DSAPERF_TRY(write_file(options.output, result.csv));
  if (options.json)
    print_document(report::json(result));
  else
    std::fputs(report::text(result, TextStyle::of_descriptor(1)).c_str(), stdout);
  return ExitCode::kDone;
}

Result<void> fill_moe_tp(serving::Layout& l, int given) {
  const int width = l.tp * l.dp * l.cp;
  if (given == 0 && width % l.moe_ep != 0)
    return fail(Errc::kInvalidArgument, "tp * dp * cp = {} does not divide by ep {}", width,
                l.moe_ep);
  l.moe_tp = given > 0 ? given : width / l.moe_ep;
  return {};
}

Result<ExitCode> run_estimate(EstimateOptions options) {
  auto& in = options.inputs;
  DSAPERF_TRY_ASSIGN(in.engine, serving::engine_from_name(options.backend));
  DSAPERF_TRY_ASSIGN(in.quirks, serving::Quirks::parse(options.quirks));
  in.mode = mode_of(options.mode);
  in.method =
      options.method == "compatible" ? serving::Method::kCompatible : serving::Method::kModel;
  DSAPERF_TRY(fill_moe_tp(in.layout, options.moe_tp));
  for (auto* workers : {&in.prefill, &in.decode}) {
    auto& l = workers->layout;  // 0: as without a prefix
    if (l.tp == 0) l.tp = in.layout.tp;
    if (l.pp == 0) l.pp = in.layout.pp;
    if (l.dp == 0) l.dp = in.layout.dp;
    if (l.moe_ep == 0) l.moe_ep = in.layout.moe_ep;
    if (l.cp == 0) l.cp = workers == &in.prefill ? in.layout.cp : 1;  // decode has no use for it
    DSAPERF_TRY(
        fill_moe_tp(l, workers == &in.prefill ? options.prefill_moe_tp : options.decode_moe_tp));
  }
  if (!in.rate_per_s && options.from.empty()) in.concurrency = options.concurrency;
  if (options.prefix_hit > 0) in.prefix = std::floor(in.isl * options.prefix_hit);

  DSAPERF_TRY_ASSIGN(const auto opened, predict::open_tables(options.systems_root, options.backend,
                                                             options.backend_is_given));
  if (!options.from.empty()) return run_file(options, opened.tree);
  DSAPERF_TRY_ASSIGN(const auto spec, model::load_model(options.config));
  DSAPERF_TRY_ASSIGN(auto operators,
                     opened.operators(options.system, opened.backend, options.version));
  DSAPERF_TRY_ASSIGN(auto estimate, serving::estimate(spec, operators, in));
  std::ranges::copy(opened.warnings(options.system), std::back_inserter(estimate.warnings));
  for (const auto& warning : estimate.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (options.json)
    print_document(report::json(estimate));
  else
    std::fputs(report::text(estimate, TextStyle::of_descriptor(1)).c_str(), stdout);
  return ExitCode::kDone;
}

void add_deployment(Command& command, EstimateOptions& o) {
  auto& l = o.inputs.layout;
  add_systems(command, o.systems_root);
  command.add_option("--system", o.system, "Card").show_default();
  command.add_option("--backend", o.backend, "Engine")
      .one_of({"sglang", "vllm", "trtllm"})
      .show_default();
  command.add_option("--version", o.version,
                     "current, previous, next or a number (default: current)");
  command
      .add_option("--mode", o.mode,
                  "agg: in-flight batching; static: one batch; disagg: workers for prefill and for "
                  "decode")
      .one_of({"agg", "static", "disagg"})
      .show_default();
  const auto add_size = [&](const char* flag, int& size, const char* what) {
    return command.add_option(flag, size, what).between(1, kMostGpus);
  };
  add_size("--tp", l.tp, "Tensor-parallel size").show_default();
  add_size("--pp", l.pp, "Pipeline stages").show_default();
  add_size("--dp", l.dp, "Copies of the attention").show_default();
  add_size("--ep", l.moe_ep, "Expert-parallel size").show_default();
  add_size("--moe-tp", o.moe_tp, "Tensor-parallel size of the experts (default: tp * dp / ep)");
  command.add_option("--cp", l.cp, "Context-parallel size of prefill (SGLang)")
      .between(1, kMostContextParallel)
      .show_default();
  command.add_option("--kv", o.inputs.formats.kv,
                     "Cache: bfloat16 (or bf16), fp8 (default: the engine's)");
  command.add_option("--gemm", o.inputs.formats.gemm, "Projections (default: the checkpoint's)");
  command
      .add_option("--mem-fraction", o.inputs.memory_fraction,
                  "mem_fraction_static, gpu_memory_utilization or free_gpu_memory_fraction")
      .between(serving::kLeastMemoryFraction, 1.0);
  command.add_option("--max-batch", o.inputs.max_batch, "Requests that decode together, a rank")
      .whole(1, predict::kLargestSize);
  command.add_option("--chunk", o.inputs.chunk, "Prefill tokens of a step, a rank")
      .whole(1, predict::kLargestSize);
  command
      .add_option("--host", o.inputs.host,
                  "Constants of the host that you measured, instead of ours (docs/serving.md): "
                  "launch_us=900,request_ms=60")
      .readable_by([](const std::string& changes) { return serving::with_changes({}, changes); });
}

void add_workers(Command& command, const std::string& which, serving::Workers& workers,
                 int& moe_tp) {
  auto& l = workers.layout;
  l.tp = l.pp = l.dp = l.moe_ep = l.cp = 0;
  const std::string prefix = "--" + which + "-";
  const std::string as = " of a " + which + " worker (default: as without " + which + "-)";
  command.add_option(prefix + "workers", workers.count, "With --mode disagg: " + which + " workers")
      .between(1, kMostGpus)
      .show_default();
  command.add_option(prefix + "tp", l.tp, "Tensor-parallel size" + as).between(1, kMostGpus);
  command.add_option(prefix + "pp", l.pp, "Pipeline stages" + as).between(1, kMostGpus);
  command.add_option(prefix + "dp", l.dp, "Copies of the attention" + as).between(1, kMostGpus);
  command.add_option(prefix + "ep", l.moe_ep, "Expert-parallel size" + as).between(1, kMostGpus);
  command.add_option(prefix + "moe-tp", moe_tp, "Tensor-parallel size of the experts" + as)
      .between(1, kMostGpus);
}

void add_load(Command& command, EstimateOptions& o) {
  auto& in = o.inputs;
  add_lengths(command, in.isl, in.osl);
  const auto prefix = add_prefix(command, in.prefix);
  command.add_option("--prefix-hit", o.prefix_hit, "The same as a share of the prompt")
      .between(0.0, 1.0)
      .excludes(prefix);
  const auto concurrency =
      command.add_option("--concurrency", o.concurrency, "Requests at any time")
          .between(1.0, static_cast<double>(serving::kMostRequests))
          .show_default();
  command.add_option("--rate", in.rate_per_s, "Requests a second, arriving at random")
      .positive()
      .excludes(concurrency);
  command
      .add_option("--length-ratio", in.length_ratio,
                  "Lengths are drawn from this part of isl and osl up to all of it (default: 0.8)")
      .between(serving::kLeastLengthRatio, 1.0);
  command.add_option("--prompts", in.prompts, "Requests to simulate (default: ten a place)")
      .between(1, serving::kMostRequests);
  command.add_option("--mtp", in.draft_tokens, "Draft tokens a step verifies")
      .between(0, serving::kMostDrafts)
      .show_default();
  command.add_option("--mtp-accepted", in.draft_kept, "Draft tokens a step keeps, on average")
      .not_negative()
      .show_default();
}

std::vector<std::string> disaggregated_flags() {
  std::vector<std::string> flags = {"--prefill-cp", "--prefill-batch"};
  for (const char* which : {"prefill", "decode"})
    for (const char* size : {"workers", "tp", "pp", "dp", "ep", "moe-tp"})
      flags.push_back(fmt::format("--{}-{}", which, size));
  return flags;
}

// Flags of which one has no use for the other, or of which one limits the other.
Result<void> check_together(const Command& command, const EstimateOptions& options) {
  if (options.method != "compatible")
    DSAPERF_TRY(command.check_none_given("--method " + options.method, {"--quirks"}));
  const auto& in = options.inputs;
  if (in.draft_kept > in.draft_tokens)
    return fail(Errc::kInvalidArgument, "--mtp-accepted {} is more than --mtp {}", in.draft_kept,
                in.draft_tokens);
  if (command.option("--from").given()) {
    auto said_by_rows = disaggregated_flags();
    said_by_rows.insert(said_by_rows.end(),
                        {"--system", "--backend", "--mode", "--tp", "--dp", "--ep", "--moe-tp",
                         "--isl", "--osl", "--concurrency", "--rate"});
    return command.check_none_given("--from", said_by_rows);
  }
  if (options.mode != "disagg")
    DSAPERF_TRY(command.check_none_given("--mode " + options.mode, disaggregated_flags()));
  for (const char* name : {"CONFIG", "--isl", "--osl"})
    if (!command.option(name).given())
      return missing(name == std::string_view("CONFIG") ? "CONFIG (or --from)" : name);
  if (in.prefix >= in.isl)
    return fail(Errc::kInvalidArgument, "--prefix {} is not less than --isl {}", in.prefix, in.isl);
  return {};
}

void declare_estimate(Command& command) {
  auto options = std::make_shared<EstimateOptions>();
  const auto config = add_config(command, options->config);
  const auto from =
      command
          .add_option("--from", options->from,
                      "Estimate every deployment of a CSV file beside what was measured "
                      "(columns: docs/serving.md)")
          .excludes(config);
  command.add_option("-o,--output", options->output, "Where --from writes its rows").needs(from);
  add_deployment(command, *options);
  const auto backend = command.option("--backend");
  add_workers(command, "prefill", options->inputs.prefill, options->prefill_moe_tp);
  command
      .add_option("--prefill-cp", options->inputs.prefill.layout.cp,
                  "Context-parallel size of a prefill worker (default: --cp)")
      .between(1, kMostContextParallel);
  command
      .add_option("--prefill-batch", options->inputs.prefill.max_batch,
                  "Prompts that a prefill rank takes together (default: what its chunk holds; "
                  "--method compatible: 1)")
      .between(1.0, 4096.0);
  add_workers(command, "decode", options->inputs.decode, options->decode_moe_tp);
  add_load(command, *options);
  command
      .add_option("--method", options->method,
                  "model: a simulation of the engine; compatible: aiconfigurator's own closed form")
      .one_of({"model", "compatible"})
      .show_default();
  add_quirks(command, options->quirks);
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf estimate zai-org/GLM-5-FP8 --system h200_sxm --tp 8 --isl 8192 --osl "
      "1024 --concurrency 16\n"
      "  dsaperf estimate --from deployments.csv -o estimated.csv\n"
      "  dsaperf estimate deepseek-ai/DeepSeek-V3.2 --backend vllm --tp 8 --ep 8 --isl 4096 --osl "
      "512 --rate 2\n"
      "  dsaperf estimate zai-org/GLM-5-FP8 --mode disagg --tp 8 --prefill-workers 2 --decode-dp 4 "
      "--decode-tp 2 --isl 8192 --osl 1024 --concurrency 64");
  command.check([&command, options] { return check_together(command, *options); });
  command.callback([options, backend] {
    options->backend_is_given = backend.given();
    spell_as_tables_do({&options->inputs.formats.kv, &options->inputs.formats.gemm});
    return run_estimate(*options);
  });
}

}  // namespace

void add_estimate(Command& app) {
  app.add_command("estimate", "TTFT, TPOT, throughput and memory of one deployment",
                  declare_estimate);
}

}  // namespace dsaperf::tool
