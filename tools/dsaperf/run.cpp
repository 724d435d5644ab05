#include "run.hpp"

#include "config_flag.hpp"
#include "document.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/cost/device_name.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/peak.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/op/checkpoint.hpp"
#include "dsaperf/op/compare_kv.hpp"
#include "dsaperf/op/gpu_backend.hpp"
#include "dsaperf/op/layer_choice.hpp"
#include "dsaperf/op/run_layer.hpp"
#include "dsaperf/report/run.hpp"

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace dsaperf::tool {
namespace {

using KvFormat = kernels::KvRows::Format;

// Rows of a batch that a check compares: each costs the double reference a second or so.
constexpr std::size_t kCheckTokens = 8;

struct RunFlags {
  std::string config;
  std::string device = "cpu";
  std::string kv = "bf16";
  std::string gemm = "bf16";
  std::string scores = "normal";
  std::string weights, dump;
  std::vector<std::string> compare_kv;
  op::LayerChoice choice;
  op::RunOptions run;
  std::string launch;
  std::int64_t score_mib = op::PassOptions{}.score_bytes >> 20;
  bool check = false;
  bool json = false;
};

KvFormat kv_format(const std::string& name) {
  return name == "fp8" ? KvFormat::kFp8 : KvFormat::kBf16;
}

// Of this process: weights, caches and tensors on the CPU are part of it.
Bytes peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_maxrss * 1024};  // Linux counts KiB
}

Micros median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return {samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2};
}

// The system whose GPU the driver calls by this name.
Result<cost::SystemSpec> system_of(const std::string& device_name) {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  DSAPERF_TRY_ASSIGN(auto system, cost::card_called(data, device_name));
  if (system) return *std::move(system);
  return fail(Errc::kNotFound, "no system in data/systems has a '{}'", device_name);
}

int threads_of(const RunFlags& options) {
  return options.run.threads > 0 ? options.run.threads : kernels::cpu::available_threads();
}

void set_bound(report::RunStage& stage, Micros math, Micros memory) {
  stage.bound = std::max(math, memory);
  stage.bound_by = math > memory ? "math" : "memory";
}

// Bounds, from the stages' costs and what the device can do: as data/systems states it for a GPU,
// as measured now for the host.
Result<void> add_bounds(const RunFlags& options, const model::LayerPlan& plan, int heads,
                        report::RunReport& report) {
  model::LayerPlan costed = plan;
  const auto weights =
      options.gemm == "bf16" ? model::WeightFormat::kBf16 : model::WeightFormat::kFp8Block;
  costed.formats = {.q_a = weights,
                    .kv_a = weights,
                    .q_b = weights,
                    .kv_b = model::WeightFormat::kBf16,
                    .o = weights,
                    .indexer = weights};
  const auto shape =
      cost::Shape::decode(options.run.batch, options.run.new_tokens, options.run.past, heads,
                          options.kv == "fp8" ? model::KvFormat::kFp8 : model::KvFormat::kBf16);
  DSAPERF_TRY_ASSIGN(const auto layer, cost::layer_cost(costed, shape));
  std::optional<cost::SystemSpec> system;
  if (options.device == "gpu") {
    auto found = system_of(report.device_name);
    if (!found) {
      report.warnings.push_back(found.error().message() + ": bounds are zero");
      return {};
    }
    system = *std::move(found);
    report.system = system->name;
    report.peak_flop_per_s = system->peak(cost::MathFormat::kBf16).value_or(0);
    report.peak_bytes_per_s = system->hbm_bytes_per_s;
    report.bound_source =
        "peaks of " + system->name + " in data/systems, fp8 where a stage uses it";
  } else {
    const int threads = threads_of(options);
    DSAPERF_TRY_ASSIGN(report.peak_flop_per_s, kernels::cpu::measured_flop_per_s(threads));
    report.peak_bytes_per_s = kernels::cpu::measured_bytes_per_s(threads);
    report.bound_source = "f32 products and copies measured on this machine now";
  }
  for (report::RunStage& stage : report.stages) {
    const auto* found = layer.find(*model::stage_from_name(stage.name));
    if (found == nullptr) continue;
    stage.flops = found->total_flops();
    stage.bytes = {static_cast<std::int64_t>(found->traffic.total())};
    if (system) {
      const auto bound = cost::bound(*found, *system);
      set_bound(stage, bound.math, bound.memory);
    } else {
      set_bound(stage, {stage.flops.value / report.peak_flop_per_s * 1e6},
                {found->traffic.total() / report.peak_bytes_per_s * 1e6});
    }
  }
  return {};
}

void add_stages(const RunFlags& options, const op::LayerRun& run, report::RunReport& report) {
  for (const op::StageTime& time : run.stages) {
    report::RunStage stage{.name = std::string(model::name(time.stage))};
    const auto& samples = time.warm_us.empty() ? time.cold_us : time.warm_us;
    stage.time = median(samples);
    stage.cold = median(time.cold_us);
    if (!time.warm_us.empty()) stage.warm = median(time.warm_us);
    const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
    if (stage.time.value > 0) stage.spread = 0.5 * (*high - *low) / stage.time.value;
    report.cold_samples = static_cast<int>(time.cold_us.size());
    report.warm_samples = static_cast<int>(time.warm_us.size());
    report.stages.push_back(std::move(stage));
  }
  report.weight_bytes = run.weights;
  report.cache_bytes = run.caches;
  report.activation_bytes = run.activations;
  report.peak_memory = run.peak;
  if (options.run.whole_passes) {
    report.whole_cold = median(run.cold_us);
    if (!run.warm_us.empty()) report.whole_warm = median(run.warm_us);
  }
  report.regime = run.dense ? "dense" : "sparse";
  if (!run.check) return;
  report.check = {.passed = run.check->passed,
                  .tokens = static_cast<std::int64_t>(run.check->tokens.size())};
  for (const op::StageCheck& check : run.check->stages) {
    const auto stage = std::find_if(
        report.stages.begin(), report.stages.end(),
        [&](const report::RunStage& each) { return each.name == model::name(check.stage); });
    if (stage == report.stages.end()) continue;
    stage->error = check.error;
    stage->tolerance = check.tolerance;
    stage->passed = check.passed;
    stage->detail = check.detail;
  }
}

Result<void> add_comparison(const RunFlags& options, op::Backend& backend,
                            const op::LayerSpec& spec, report::RunReport& report) {
  std::vector<KvFormat> formats;
  for (const auto& name : options.compare_kv) formats.push_back(kv_format(name));
  constexpr std::array kAll = {op::ScoreDistribution::kNormal, op::ScoreDistribution::kFlat,
                               op::ScoreDistribution::kTied};
  DSAPERF_TRY_ASSIGN(const auto rows, op::compare_kv(backend, spec, options.run, kAll, formats));
  for (const op::KvComparison& row : rows)
    report.comparison.push_back({.scores = std::string(op::name(row.scores)),
                                 .kv = row.kv == KvFormat::kBf16 ? "bf16" : "fp8",
                                 .selection_overlap = row.selection_overlap,
                                 .lowest_overlap = row.lowest_overlap,
                                 .output_error = row.output_error,
                                 .output_error_of_cache = row.output_error_of_cache,
                                 .output_error_of_selection = row.output_error_of_selection});
  return {};
}

// What was asked for; what came out is added to it.
report::RunReport report_of(const RunFlags& options, const model::ModelSpec& model,
                            const op::LayerSpec& spec, const op::Backend& backend) {
  return {.model = model.name,
          .device = options.device,
          .device_name = options.device == "gpu" ? backend.device_name()
                                                 : fmt::format("{} threads", threads_of(options)),
          .layer = spec.layer,
          .shares_selection = !spec.has_indexer,
          .heads = spec.heads,
          .batch = options.run.batch,
          .new_tokens = options.run.new_tokens,
          .past_tokens = options.run.past,
          .kv = options.kv,
          .gemm = options.gemm,
          .scores = options.scores,
          .weights = options.weights.empty() ? "random" : options.weights,
          .launch = options.run.launch == op::Launch::kGraph ? "graph" : "eager",
          .warnings = model.warnings};
}

// Times of every stage, and their errors with --check.
Result<void> add_run(const RunFlags& options, const model::LayerPlan& plan,
                     const op::LayerSpec& spec, op::Backend& backend, report::RunReport& report) {
  op::LayerWeights weights;
  if (options.weights.empty()) {
    weights = op::random_weights(spec, options.run.seed,
                                 *op::score_distribution_from_name(options.scores));
  } else {
    DSAPERF_TRY_ASSIGN(weights, op::read_weights(options.weights, spec));
  }
  DSAPERF_TRY_ASSIGN(const auto run,
                     op::run_layer(backend, spec, weights, options.run, options.dump));
  add_stages(options, run, report);
  DSAPERF_TRY(add_bounds(options, plan, spec.heads, report));
  if (report.shares_selection && report.regime == "sparse")
    report.warnings.emplace_back(
        "the layer has no indexer: it attends to a random selection, not to its full layer's");
  return {};
}

Result<ExitCode> run_layer(RunFlags options) {
  std::unique_ptr<op::Backend> backend;
  if (options.device == "gpu") {
    DSAPERF_TRY_ASSIGN(backend, op::gpu_backend());
  } else {
    backend = op::cpu_backend(options.run.threads);
  }
  DSAPERF_TRY_ASSIGN(const auto model, model::load_model(options.config));
  DSAPERF_TRY_ASSIGN(const auto* const plan, op::layer_plan(model, options.choice.layer));
  options.choice.projections =
      options.gemm == "bf16" ? op::Projections::kBf16 : op::Projections::kFp8Block;
  DSAPERF_TRY_ASSIGN(const auto spec, op::layer_spec(model, options.choice));
  options.run.kv = kv_format(options.kv);
  options.run.score_bytes = options.score_mib << 20;
  if (options.device == "gpu") {
    // A GPU's clocks and libraries want passes before the first sample.
    options.run.launch = options.launch == "eager" ? op::Launch::kEager : op::Launch::kGraph;
    options.run.warmup = 3;
    options.run.whole_passes = true;
  } else if (options.launch == "graph") {
    return fail(Errc::kInvalidArgument, "--launch graph: only a GPU has graphs");
  }
  if (options.check) options.run.check_tokens = kCheckTokens;

  auto report = report_of(options, model, spec, *backend);
  if (options.compare_kv.empty()) {
    DSAPERF_TRY(add_run(options, *plan, spec, *backend, report));
  } else {
    DSAPERF_TRY(add_comparison(options, *backend, spec, report));
    report.regime = "sparse";  // what selects nothing was refused
  }
  if (options.device == "cpu") report.peak_memory = peak_memory();

  for (const auto& warning : report.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (options.json)
    print_document(report::json(report));
  else
    std::fputs(report::text(report, TextStyle::of_descriptor(1)).c_str(), stdout);
  return report.check && !report.check->passed ? ExitCode::kVerdictNo : ExitCode::kDone;
}

void declare_run(Command& command) {
  auto options = std::make_shared<RunFlags>();
  add_config(command, options->config).required();
  command.add_option("--batch", options->run.batch, "Requests").positive().show_default();
  command.add_option("--new", options->run.new_tokens, "New tokens of each request")
      .positive()
      .show_default();
  command.add_option("--past", options->run.past, "Tokens of each request in the cache before")
      .not_negative()
      .show_default();
  command.add_option("--heads", options->choice.heads, "Attention heads of one rank (default: all)")
      .positive();
  command
      .add_option("--layer", options->choice.layer,
                  "Index of the layer (default: the first sparse one with an indexer)")
      .not_negative();
  command.add_option("--kv", options->kv, "Format of the latent cache")
      .one_of({"bf16", "fp8"})
      .show_default();
  command.add_option("--gemm", options->gemm, "Format of the projections")
      .one_of({"bf16", "fp8_block"})
      .show_default();
  command
      .add_option("--scores", options->scores, "What the index scores of random weights look like")
      .one_of({"normal", "flat", "tied", "peaked"})
      .show_default();
  command.add_option("--device", options->device, "Where the layer runs")
      .one_of({"cpu", "gpu"})
      .show_default();
  command.add_option("--weights", options->weights,
                     "safetensors file, or folder of a checkpoint (default: random weights)");
  command.add_option("--seed", options->run.seed, "Of random weights and tokens").show_default();
  command.add_option("--threads", options->run.threads, "On the CPU (default: all cores)")
      .between(1, 1024);
  command
      .add_option("--seconds", options->run.seconds, "Time for repetitions beyond the first pass")
      .not_negative()
      .show_default();
  command
      .add_option("--launch", options->launch,
                  "On a GPU: graph (default), the pass captured once and replayed, or eager")
      .one_of({"graph", "eager"});
  command
      .add_option("--score-memory", options->score_mib,
                  "MiB for index scores; what has more is taken in parts")
      .between(std::int64_t{1}, std::int64_t{1} << 20)
      .show_default();
  command.add_flag("--check", options->check,
                   "Compare every stage with the double reference; exit 3 where one fails");
  const auto compare =
      command
          .add_option("--compare-kv", options->compare_kv,
                      "Formats of the cache, as bf16,fp8: what they cost in the selection and at "
                      "the output, for each distribution of scores, instead of times")
          .delimiter(',')
          .one_of({"bf16", "fp8"});
  command.add_option("--dump", options->dump, "Write every tensor to this .safetensors file")
      .excludes(compare);
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf run deepseek-ai/DeepSeek-V3.2 --device cpu --batch 1 --new 512 "
      "--past 4096 --check");
  command.callback([options] { return run_layer(*options); });
}

}  // namespace

void add_run(Command& app) {
  app.add_command(
      "run", "Run one sparse attention layer at one shape: time, bound and error of every stage",
      declare_run);
}

}  // namespace dsaperf::tool
