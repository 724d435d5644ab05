#include "collect.hpp"

#include "dsaperf/collect/collector.hpp"
#include "dsaperf/collect/fake_source.hpp"
#include "dsaperf/collect/json.hpp"
#include "dsaperf/collect/method_csv.hpp"
#include "dsaperf/collect/tables.hpp"
#include "dsaperf/collect/worker.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/progress.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/model/load_model.hpp"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

using nlohmann::ordered_json;

struct CollectFlags {
  std::string config;
  std::string directory;
  std::string grid = "standard";
  std::string system = "h200_sxm";
  std::string shard;
  std::string devices = "0";
  std::string timing = "gpu";
  std::vector<int> heads;
  std::vector<std::string> kv = {"bf16"};
  std::vector<std::string> gemm = {"fp8_block"};
  std::vector<std::string> roles = {"full"};
  std::vector<std::string> scores = {"model_like"};
  std::vector<std::string> launches = {"graph"};
  bool plan_only = false;
  bool resume = false;
  bool retry_failed = false;
  bool json = false;
  bool json_progress = false;
  int fake_delay_ms = 0;
  std::string fake_dies_on;
  std::string fake_fails_on;
};

// What a plan and a worker both start from.
struct Subject {
  model::ModelSpec spec;
  model::LayerPlan layer;
  cost::SystemSpec system;
};

Result<Subject> load_subject(const CollectFlags& flags) {
  DSAPERF_TRY_ASSIGN(auto spec, model::load_model(flags.config));
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  DSAPERF_TRY_ASSIGN(auto system, cost::find_system(data, flags.system));
  auto layer = model::typical_layer(spec);
  return Subject{std::move(spec), std::move(layer), std::move(system)};
}

template <typename Value, typename Parse>
Result<std::vector<Value>> axis(const char* flag, const std::vector<std::string>& texts,
                                Parse parse) {
  std::vector<Value> values;
  for (const auto& text : texts) {
    const auto value = parse(text);
    if (!value) return fail(Errc::kInvalidArgument, "{}: '{}' is not known", flag, text);
    values.push_back(*value);
  }
  return values;
}

Result<collect::Axes> axes_of(const CollectFlags& flags, const model::LayerPlan& layer) {
  collect::Axes axes;
  axes.heads = flags.heads.empty() ? std::vector<int>{layer.geometry.heads} : flags.heads;
  DSAPERF_TRY_ASSIGN(axes.kv, axis<model::KvFormat>("--kv", flags.kv, collect::kv_format_from));
  DSAPERF_TRY_ASSIGN(axes.gemm,
                     axis<model::WeightFormat>("--gemm", flags.gemm, collect::weight_format_from));
  DSAPERF_TRY_ASSIGN(
      axes.roles, axis<model::IndexerRole>("--indexer", flags.roles, collect::indexer_role_from));
  DSAPERF_TRY_ASSIGN(axes.scores, axis<collect::ScoreDistribution>(
                                      "--scores", flags.scores, collect::score_distribution_from));
  DSAPERF_TRY_ASSIGN(axes.launches,
                     axis<collect::Launch>("--launch", flags.launches, collect::launch_from));
  return axes;
}

Result<std::vector<collect::GridPoint>> grid_of(const CollectFlags& flags,
                                                const model::LayerPlan& layer) {
  if (flags.grid == "standard") return collect::standard_grid();
  if (flags.grid == "deep") return collect::deep_grid(layer.indexer ? layer.indexer->topk : 2048);
  return collect::read_grid(flags.grid);
}

Result<collect::Shard> shard_of(const CollectFlags& flags) {
  if (!flags.shard.empty()) return collect::parse_shard(flags.shard);
  return collect::shard_from_environment([](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  });
}

ordered_json plan_to_json(const CollectFlags& flags, const Subject& subject,
                          const collect::Plan& plan, const collect::Shard& shard) {
  ordered_json cases = ordered_json::array();
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    if (shard.takes(i)) cases.push_back(collect::case_to_json(plan.cases[i]));
  }
  ordered_json left_out = ordered_json::array();
  for (const auto& [which, reason] : plan.left_out) {
    left_out.push_back({{"id", which.id()}, {"reason", reason}});
  }
  return {{"format", "dsaperf.collect.1"},
          {"model", subject.spec.name},
          {"system", subject.system.name},
          {"grid", flags.grid},
          {"shard", {{"index", shard.index}, {"count", shard.count}}},
          {"estimated_minutes", plan.estimated_minutes / shard.count},
          {"peak_memory_gib", plan.peak_memory.gib()},
          {"cases", std::move(cases)},
          {"left_out", std::move(left_out)}};
}

void print_plan(const Subject& subject, const collect::Plan& plan, const collect::Shard& shard) {
  std::size_t taken = 0;
  TextTable table({{"phase"},
                   {"requests", TextTable::Align::kRight},
                   {"new tokens", TextTable::Align::kRight},
                   {"context tokens", TextTable::Align::kRight},
                   {"case"}});
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    if (!shard.takes(i)) continue;
    ++taken;
    const auto& what = plan.cases[i];
    table.add_row({std::string(perfdb::name(what.phase)), fmt::format("{}", what.batch()),
                   fmt::format("{}", what.new_tokens()), fmt::format("{}", what.context_tokens()),
                   what.id()});
  }
  fmt::print("{}", table.str(TextStyle::of_descriptor(STDOUT_FILENO)));
  fmt::print("\n{} cases of {} on {}, about {:.1f} min, at most {:.1f} GiB\n", taken,
             subject.spec.name, subject.system.name, plan.estimated_minutes / shard.count,
             plan.peak_memory.gib());
  for (const auto& [which, reason] : plan.left_out) {
    fmt::print("left out: {}: {}\n", which.id(), reason);
  }
}

std::unique_ptr<collect::FakeSource> fake_source(const CollectFlags& flags,
                                                 const Subject& subject) {
  return std::make_unique<collect::FakeSource>(
      subject.layer, subject.system,
      collect::FakeSource::Options{.delay = std::chrono::milliseconds(flags.fake_delay_ms),
                                   .fails_on = flags.fake_fails_on,
                                   .dies_on = flags.fake_dies_on});
}

Result<void> refuse_gpu_timing(const CollectFlags& flags) {
  if (flags.timing == "fake") return {};
  return fail(
      Errc::kUnsupported,
      "there is no GPU timing in this build: --plan-only lists the cases, --timing fake tries "
      "the collection without a GPU");
}

std::vector<std::string> words(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<std::vector<std::unique_ptr<collect::TimingSource>>> start_workers(
    const CollectFlags& flags) {
  std::error_code code;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) return fail(Errc::kIo, "/proc/self/exe: {}", code.message());
  std::vector<std::unique_ptr<collect::TimingSource>> sources;
  for (const auto& device : words(flags.devices, ',')) {
    DSAPERF_TRY_ASSIGN(auto worker,
                       collect::WorkerSource::start(
                           {.command = {self.string(), "collect-worker", flags.config, "--system",
                                        flags.system, "--timing", flags.timing, "--fake-delay-ms",
                                        fmt::format("{}", flags.fake_delay_ms), "--fake-dies-on",
                                        flags.fake_dies_on, "--fake-fails-on", flags.fake_fails_on},
                            .environment = {fmt::format("CUDA_VISIBLE_DEVICES={}", device)}}));
    sources.push_back(std::move(worker));
  }
  return sources;
}

// Progress as one JSON object a line on stderr, for programs that watch.
void print_json_event(const collect::CollectEvent& event) {
  constexpr const char* kNames[] = {"found", "measured", "failed", "repeated"};
  ordered_json line = {{"event", kNames[static_cast<int>(event.kind)]}, {"id", event.what.id()}};
  if (!event.error.empty()) line["error"] = event.error;
  fmt::print(stderr, "{}\n", line.dump());
}

ordered_json report_to_json(const collect::CollectReport& report) {
  return {{"planned", report.planned},
          {"found", report.found},
          {"measured", report.measured},
          {"failed", report.failed},
          {"disturbed", report.disturbed},
          {"repeated", report.repeated},
          {"repeat_spread", report.repeat_spread},
          {"failures", report.failures}};
}

Result<ExitCode> run_collect(const CollectFlags& flags) {
  DSAPERF_TRY_ASSIGN(const auto subject, load_subject(flags));
  DSAPERF_TRY_ASSIGN(const auto axes, axes_of(flags, subject.layer));
  DSAPERF_TRY_ASSIGN(const auto grid, grid_of(flags, subject.layer));
  DSAPERF_TRY_ASSIGN(const auto shard, shard_of(flags));
  DSAPERF_TRY_ASSIGN(const auto plan,
                     collect::make_plan(grid, axes, subject.layer, subject.system));
  auto document = plan_to_json(flags, subject, plan, shard);
  if (flags.plan_only) {
    if (flags.json) {
      fmt::print("{}\n", document.dump(2));
    } else {
      print_plan(subject, plan, shard);
    }
    return ExitCode::kDone;
  }

  DSAPERF_TRY(refuse_gpu_timing(flags));
  DSAPERF_TRY_ASSIGN(const auto sources, start_workers(flags));
  const collect::JournalHeader header{.model = subject.spec.name,
                                      .architecture = subject.spec.architecture,
                                      .source = sources.front()->info(),
                                      .shard = shard};
  DSAPERF_TRY_ASSIGN(auto journal, collect::Journal::open(flags.directory, header, flags.resume));
  const auto total = document["cases"].size();
  Progress progress({.what = "collect", .total = static_cast<std::int64_t>(total), .unit = "cases"},
                    flags.json_progress ? Progress::Sink() : terminal_sink());
  const auto watcher = [&](const collect::CollectEvent& event) {
    if (flags.json_progress) print_json_event(event);
    if (event.kind == collect::CollectEvent::Kind::kFound) progress.skip(1);
    if (event.kind == collect::CollectEvent::Kind::kMeasured ||
        event.kind == collect::CollectEvent::Kind::kFailed) {
      progress.advance(1);
    }
  };
  DSAPERF_TRY_ASSIGN(const auto report,
                     collect::collect(plan, shard, sources, journal,
                                      {.retry_failed = flags.retry_failed}, watcher));
  const auto csv = collect::method_csv(header, journal.entries(), subject.layer);
  auto csv_path = journal.path();
  csv_path.replace_extension(".csv");
  DSAPERF_TRY(write_file(csv_path, csv.text));
  const auto table = collect::full_table(header, journal.entries());
  auto table_path = journal.path();
  table_path.replace_extension(".parquet");
  if (!table.columns.empty()) {
    DSAPERF_TRY(perfdb::write_columns(table_path, table.columns, table.metadata));
  }

  if (flags.json) {
    document["device"] = header.source.device;
    document["journal"] = journal.path().string();
    document["csv"] = csv_path.string();
    document["table"] = table_path.string();
    document["report"] = report_to_json(report);
    fmt::print("{}\n", document.dump(2));
  } else {
    fmt::print(
        "{}: {} of {} cases measured, {} found, {} failed; {} measurements disturbed and "
        "taken again; {} repeated, spread {:.2f} %\n{}: {} rows\n",
        journal.path().string(), report.measured, report.planned, report.found, report.failed,
        report.disturbed, report.repeated, 100 * report.repeat_spread, csv_path.string(), csv.rows);
  }
  for (const auto& failure : report.failures) fmt::print(stderr, "warning: {}\n", failure);
  return ExitCode::kDone;
}

Result<ExitCode> run_worker(const CollectFlags& flags) {
  DSAPERF_TRY(refuse_gpu_timing(flags));
  DSAPERF_TRY_ASSIGN(const auto subject, load_subject(flags));
  const auto source = fake_source(flags, subject);
  DSAPERF_TRY(collect::serve_worker(*source, STDIN_FILENO, STDOUT_FILENO));
  return ExitCode::kDone;
}

void add_source_flags(CLI::App& command, CollectFlags& flags) {
  command.add_option("CONFIG", flags.config, "config.json, its folder, or a bundled name")
      ->required();
  command.add_option("--system", flags.system, "card that the plan is for")->capture_default_str();
  command.add_option("--timing", flags.timing, "gpu, or fake: times from the bound, for a trial")
      ->check(CLI::IsMember({"gpu", "fake"}))
      ->capture_default_str();
  command.add_option("--fake-delay-ms", flags.fake_delay_ms,
                     "with --timing fake: time a case takes");
  command.add_option("--fake-dies-on", flags.fake_dies_on,
                     "with --timing fake: cases whose id holds this end the measuring process");
  command.add_option("--fake-fails-on", flags.fake_fails_on,
                     "with --timing fake: cases whose id holds this fail");
}

}  // namespace

void add_collect(CLI::App& app, Run& run) {
  auto flags = std::make_shared<CollectFlags>();
  auto* command = app.add_subcommand("collect", "Measure a layer on a grid of shapes, resumably");
  add_source_flags(*command, *flags);
  command->add_option("-o,--output", flags->directory, "folder of the journal and the tables")
      ->required();
  command->add_option("--grid", flags->grid, "standard, deep, or a YAML file")
      ->capture_default_str();
  command->add_option("--heads", flags->heads, "heads of one rank (default: the model's)")
      ->delimiter(',');
  command->add_option("--kv", flags->kv, "cache formats: bf16, fp8")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--gemm", flags->gemm, "projection formats: fp8_block, bf16")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--indexer", flags->roles, "layers: full, shared")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--scores", flags->scores, "score distributions: model_like, flat, peaked")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--launch", flags->launches, "graph, eager")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--shard", flags->shard,
                      "i/n: this part of the plan (default: Slurm's variables)");
  command->add_option("--devices", flags->devices, "GPUs to use, one worker each: 0,1")
      ->capture_default_str();
  command->add_flag("--plan-only", flags->plan_only,
                    "list the cases, minutes and memory; measure nothing");
  command->add_flag("--resume", flags->resume, "go on with what the folder holds");
  command->add_flag("--retry-failed", flags->retry_failed, "measure failed cases again");
  command->add_flag("--json", flags->json, "one JSON document on stdout");
  command->add_flag("--json-progress", flags->json_progress, "one JSON object a case on stderr");
  command->footer(
      "Example:\n  dsaperf collect deepseek-ai/DeepSeek-V3.2 -o rows --heads 16,128 --plan-only");
  command->callback([flags, &run] { run = [flags] { return run_collect(*flags); }; });

  auto worker_flags = std::make_shared<CollectFlags>();
  auto* worker =
      app.add_subcommand("collect-worker", "Measures for collect, over stdin and stdout");
  worker->group("");  // not for people
  add_source_flags(*worker, *worker_flags);
  worker->callback(
      [worker_flags, &run] { run = [worker_flags] { return run_worker(*worker_flags); }; });
}

}  // namespace dsaperf::tool
