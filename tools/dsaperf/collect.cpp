#include "collect.hpp"

#include "collect_source.hpp"
#include "document.hpp"
#include "dsaperf/collect/by_stage.hpp"
#include "dsaperf/collect/collector.hpp"
#include "dsaperf/collect/devices.hpp"
#include "dsaperf/collect/duration.hpp"
#include "dsaperf/collect/gemm_plan.hpp"
#include "dsaperf/collect/gpu_source.hpp"
#include "dsaperf/collect/json.hpp"
#include "dsaperf/collect/method_csv.hpp"
#include "dsaperf/collect/tables.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/progress.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/core/wrapped.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "last_words.hpp"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::tool {
namespace {

using nlohmann::ordered_json;

struct CollectFlags {
  SourceFlags source;
  std::string directory;
  std::string grid = "standard";
  std::string shard;
  std::string devices = "0";
  std::string by = "layer";
  std::string what = "layer";
  std::vector<int> heads;
  std::vector<std::string> kv = {"bf16"};
  std::vector<std::string> gemm = {"fp8_block"};
  std::vector<std::string> roles = {"full"};
  std::vector<std::string> scores = {"model_like"};
  std::vector<std::string> launches;  // none: graph, eager on the CPU
  int fake_devices = 1;
  bool plan_only = false;
  bool resume = false;
  bool retry_failed = false;
  bool json = false;
  bool json_progress = false;

  bool by_stage() const { return by == "stage"; }
  bool of_gemms() const { return what == "gemm"; }
};

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
  using enum collect::Launch;
  DSAPERF_TRY_ASSIGN(axes.launches,
                     axis<collect::Launch>("--launch", flags.launches, collect::launch_from));
  const bool cpu = flags.source.timing == "cpu";
  if (axes.launches.empty()) axes.launches = {cpu ? kEager : kGraph};
  if (cpu && std::ranges::count(axes.launches, kGraph) > 0) {
    return fail(Errc::kInvalidArgument, "--launch graph: only a GPU has graphs");
  }
  return axes;
}

Result<std::vector<collect::GridPoint>> grid_of(const CollectFlags& flags,
                                                const model::LayerPlan& layer) {
  if (flags.grid == "standard") return collect::standard_grid();
  if (flags.grid == "deep") return collect::deep_grid(layer.indexer ? layer.indexer->topk : 2048);
  return collect::read_grid(flags.grid);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Result<collect::Shard> shard_of(const CollectFlags& flags) {
  if (!flags.shard.empty()) return collect::parse_shard(flags.shard);
  return collect::shard_from_environment(environment);
}

// What this run is to do: its shard of the plan.
struct Work {
  collect::Shard shard;
  std::size_t in_all_shards = 0;             // cases
  std::vector<collect::Case> cases;          // layers that get a row
  std::optional<collect::StagePlan> stages;  // with --by stage
  std::vector<collect::LeftOut> left_out;
  std::vector<collect::Case> measured;  // of them or of their stages, in this order
  collect::Duration estimated;
  Bytes peak_memory;
};

// Of what takes seconds for millions of cases, and is not seen for a grid of hundreds.
Progress progress_of(const char* what, std::size_t cases) {
  constexpr std::size_t kMany = 100'000;
  return Progress({.what = what, .total = static_cast<std::int64_t>(cases), .unit = "cases"},
                  cases < kMany ? Progress::Sink() : terminal_sink());
}

Result<collect::Plan> plan_of(const CollectFlags& flags, const Subject& subject) {
  DSAPERF_TRY_ASSIGN(const auto axes, axes_of(flags, subject.layer));
  if (flags.of_gemms()) {
    if (flags.by_stage() || !flags.heads.empty() || flags.grid == "deep") {
      return fail(Errc::kInvalidArgument,
                  "--what gemm: products have no --heads, stages and prefixes; --gemm and --launch "
                  "are their axes");
    }
    auto tokens = collect::standard_tokens();
    if (flags.grid != "standard") {
      DSAPERF_TRY_ASSIGN(const auto grid, grid_of(flags, subject.layer));
      tokens = collect::tokens_of(grid);
    }
    return collect::make_gemm_plan(
        subject.spec,
        {.tokens = std::move(tokens), .formats = axes.gemm, .launches = axes.launches},
        subject.system);
  }
  DSAPERF_TRY_ASSIGN(const auto grid, grid_of(flags, subject.layer));
  auto progress = progress_of("plan", grid.size() * axes.combinations());
  return collect::make_plan(grid, axes, subject.layer, subject.system,
                            [&] { progress.advance(1); });
}

Result<Work> work_of(const CollectFlags& flags, const Subject& subject) {
  DSAPERF_TRY_ASSIGN(auto plan, plan_of(flags, subject));
  Work work;
  work.in_all_shards = plan.cases.size();
  work.left_out = std::move(plan.left_out);
  work.peak_memory = plan.peak_memory;
  DSAPERF_TRY_ASSIGN(work.shard, shard_of(flags));
  using enum collect::ShardBy;
  work.cases = collect::taken_by(work.shard, plan.cases, flags.by_stage() ? kShapes : kCases);
  work.measured = work.cases;
  if (flags.by_stage()) {
    const collect::CollectOptions options;
    DSAPERF_TRY_ASSIGN(work.stages, collect::plan_by_stage(work.cases, subject.layer,
                                                           options.check_share, options.seed));
    work.measured = work.stages->stage_cases;
    work.measured.insert(work.measured.end(), work.stages->checks.begin(),
                         work.stages->checks.end());
  }
  DSAPERF_TRY_ASSIGN(const auto each,
                     collect::durations(work.measured, subject.layer, subject.system));
  for (const auto& one : each) work.estimated += one;
  return work;
}

constexpr const char* kCasesKey = "cases";

ordered_json work_to_json(const CollectFlags& flags, const Subject& subject, const Work& work) {
  ordered_json left_out = ordered_json::array();
  for (const auto& [which, reason] : work.left_out) {
    left_out.push_back({{"id", which.id()}, {"reason", reason}});
  }
  ordered_json document = {{"format", "dsaperf.collect.1"},
                           {"model", subject.spec.name},
                           {"system", subject.system.name},
                           {"what", flags.what},
                           {"grid", flags.grid},
                           {"by", flags.by},
                           {"shard", {{"index", work.shard.index}, {"count", work.shard.count}}},
                           {"estimated_minutes", work.estimated.total() / 60},
                           {"estimate",
                            {{"shared_s", work.estimated.shared_s},
                             {"prepare_s", work.estimated.prepare_s},
                             {"passes_s", work.estimated.passes_s},
                             {"host_s", work.estimated.host_s}}},
                           {"peak_memory_gib", work.peak_memory.gib()},
                           {kCasesKey, ordered_json::array()},  // print_with_cases has them
                           {"left_out", std::move(left_out)}};
  if (work.stages) {
    ordered_json stage_cases = ordered_json::array();
    ordered_json checks = ordered_json::array();
    for (const auto& what : work.stages->stage_cases) stage_cases.push_back(what.id());
    for (const auto& what : work.stages->checks) checks.push_back(what.id());
    document["stage_cases"] = std::move(stage_cases);
    document["measured_whole"] = std::move(checks);
  }
  document["warnings"] = subject.spec.warnings;
  return document;
}

// As a value of nlohmann's dump(2) stands `by` columns deep.
std::string indented(const ordered_json& value, std::size_t by) {
  auto text = value.dump(2, ' ', false, ordered_json::error_handler_t::replace);
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    text.insert(at + 1, by, ' ');
  }
  return text;
}

// The cases go out one by one: of millions the document would take gigabytes.
void print_with_cases(const ordered_json& document, const std::vector<collect::Case>& cases) {
  begin_document();
  auto progress = progress_of("list", cases.size());
  const char* separator = "{";
  for (const auto& [key, value] : document.items()) {
    fmt::print("{}\n  {}: ", std::exchange(separator, ","), ordered_json(key).dump());
    if (key != kCasesKey || cases.empty()) {
      fmt::print("{}", indented(value, 2));
      continue;
    }
    const char* before = "[";
    for (const auto& what : cases) {
      fmt::print("{}\n    {}", std::exchange(before, ","),
                 indented(collect::case_to_json(what), 4));
      progress.advance(1);
    }
    fmt::print("\n  ]");
  }
  fmt::print("\n}}\n");
}

void print_work(const Subject& subject, const Work& work) {
  TextTable table({{"phase"},
                   {"requests", TextTable::Align::kRight},
                   {"new tokens", TextTable::Align::kRight},
                   {"context tokens", TextTable::Align::kRight},
                   {"case"}});
  auto progress = progress_of("list", work.cases.size());
  for (const auto& what : work.cases) {
    progress.advance(1);
    if (what.product) continue;  // its id says all
    table.add_row({std::string(perfdb::name(what.phase)), fmt::format("{}", what.batch()),
                   fmt::format("{}", what.new_tokens()), fmt::format("{}", what.context_tokens()),
                   what.id()});
  }
  const auto style = TextStyle::of_descriptor(STDOUT_FILENO);
  const bool of_layers = work.cases.empty() || !work.cases.front().product;
  if (of_layers) fmt::print("{}", table.str(style));
  for (const auto& what : work.cases) {
    if (what.product) fmt::print("{}\n", what.id());
  }
  const auto& estimated = work.estimated;
  auto text = fmt::format("\n{} cases of {} on {}, about {:.1f} min\n", work.cases.size(),
                          subject.spec.name, subject.system.name, estimated.total() / 60);
  text += fmt::format(
      "passes on the GPU {:.0f} s, preparing {:.0f} s, weights and caches {:.0f} s, recording and "
      "rows {:.0f} s; at most {:.1f} GiB\n",
      estimated.passes_s, estimated.prepare_s, estimated.shared_s, estimated.host_s,
      work.peak_memory.gib());
  if (work.stages) {
    std::size_t stages = 0;
    for (const auto& what : work.stages->stage_cases) stages += what.stages.size();
    text += fmt::format(
        "put together from {} stages, measured in {} passes; {} cases measured whole beside\n",
        stages, work.stages->stage_cases.size(), work.stages->checks.size());
  }
  for (const auto& [which, reason] : work.left_out) {
    text += fmt::format("left out: {}: {}\n", which.id(), reason);
  }
  fmt::print("{}", wrapped(text, style.width));
}

Result<std::vector<std::string>> devices_of(const CollectFlags& flags) {
  const bool gpu = flags.source.timing == "gpu";
  const int without = flags.source.timing == "fake" ? flags.fake_devices : 1;
  const int count = gpu ? collect::visible_gpus() : without;
  const auto visible = gpu ? environment("CUDA_VISIBLE_DEVICES") : std::string();
  return collect::devices_to_use(flags.devices, visible, count);
}

Result<std::vector<std::unique_ptr<collect::TimingSource>>> sources_of(const CollectFlags& flags,
                                                                       const Work& work) {
  DSAPERF_TRY_ASSIGN(const auto devices, devices_of(flags));
  auto source = flags.source;
  for (const auto& what : work.cases) {
    if (what.product) continue;
    source.cache_pages = std::max(source.cache_pages, collect::pages_of(what));
  }
  return start_workers(source, devices);
}

// A run that a signal ends says how it goes on. What another shell has no variables for is spelt
// out: the shard that came from Slurm's.
Result<void> say_how_to_go_on(const CollectFlags& flags, const Work& work,
                              const collect::Journal& journal) {
  std::vector<std::string> more;
  if (!flags.resume) more.emplace_back("--resume");
  if (flags.shard.empty() && work.shard.count > 1) {
    more.emplace_back("--shard");
    more.push_back(fmt::format("{}/{}", work.shard.index, work.shard.count));
  }
  DSAPERF_TRY_ASSIGN(const auto line, command_line_with(more));
  leave_last_words(fmt::format("stopped; {} has what was measured. To go on:\n  {}\n",
                               journal.path().string(), line));
  return {};
}

// Tells how far the run is: a bar on a terminal, or one JSON object a line on stderr for programs.
class Watcher {
 public:
  Watcher(std::size_t total, bool json)
      : json_(json),
        total_(total),
        bar_({.what = "collect", .total = static_cast<std::int64_t>(total), .unit = "cases"},
             json ? Progress::Sink() : terminal_sink()) {}

  void operator()(const collect::CollectEvent& event) {
    using enum collect::CollectEvent::Kind;
    if (event.kind == kFound) {
      ++found_;
      bar_.skip(1);
    }
    if (event.kind == kMeasured || event.kind == kFailed) {
      ++done_;
      bar_.advance(1);
    }
    if (json_) print(event);
  }

 private:
  void print(const collect::CollectEvent& event) const {
    constexpr const char* kNames[] = {"found", "measured", "failed", "repeated", "composed"};
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    ordered_json line = {{"event", kNames[static_cast<int>(event.kind)]},
                         {"id", event.what.id()},
                         {"done", found_ + done_},
                         {"total", total_},
                         {"elapsed_s", elapsed.count()}};
    if (done_ > 0) {
      const auto left = static_cast<double>(total_ - std::min(total_, found_ + done_));
      line["left_s"] = left * elapsed.count() / static_cast<double>(done_);
    }
    if (!event.error.empty()) line["error"] = event.error;
    fmt::print(stderr, "{}\n", document_line(line));
  }

  bool json_;
  std::size_t total_;
  std::size_t found_ = 0;
  std::size_t done_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  Progress bar_;
};

ordered_json report_to_json(const collect::CollectReport& report) {
  return {{"planned", report.planned},
          {"found", report.found},
          {"measured", report.measured},
          {"failed", report.failed},
          {"rows", report.rows},
          {"disturbed", report.disturbed},
          {"repeated", report.repeated},
          {"repeat_spread", report.repeat_spread},
          {"composed", report.composed},
          {"checked_whole", report.checked},
          {"composed_overlap_us", report.overlap.value},
          {"composed_error_median", report.composed_error},
          {"composed_error_worst", report.composed_worst},
          {"failures", report.failures}};
}

void print_report(const collect::CollectReport& report, const collect::Journal& journal) {
  fmt::print(
      "{}: {} of {} cases measured, {} found, {} failed; {} measurements disturbed and "
      "taken again; {} repeated, spread {:.2f} %\n",
      journal.path().string(), report.measured, report.planned, report.found, report.failed,
      report.disturbed, report.repeated, 100 * report.repeat_spread);
  if (report.composed > 0) {
    fmt::print(
        "{} layers are sums of stages, less {:.2f} us where two meet; {} were measured whole: the "
        "sum is off by {:.2f} % (median), {:.2f} % at worst\n",
        report.composed, report.overlap.value, report.checked, 100 * report.composed_error,
        100 * report.composed_worst);
  }
}

struct WrittenTables {
  std::filesystem::path csv;
  std::size_t csv_rows = 0;
  std::size_t without_line = 0;  // cases that the CSV can't say
  std::filesystem::path table;   // empty: no row
  std::filesystem::path gemms;   // empty: no products
  std::size_t gemm_rows = 0;
};

// AIConfigurator's name; of a shard with its number in front.
std::string gemm_file(const collect::Shard& shard) {
  std::string prefix;
  if (shard.count > 1)
    prefix = std::filesystem::path(collect::journal_file_name(shard)).stem().string() + '_';
  return prefix + std::string(perfdb::kGemmTable);
}

Result<WrittenTables> write_tables(const collect::JournalHeader& header,
                                   const collect::Journal& journal, const model::LayerPlan& layer) {
  const auto csv = collect::method_csv(header, journal.entries(), layer);
  WrittenTables written{.csv = journal.path(),
                        .csv_rows = csv.rows,
                        .without_line = csv.left_out,
                        .table = {},
                        .gemms = {}};
  written.csv.replace_extension(".csv");
  DSAPERF_TRY(write_file(written.csv, csv.text));
  const auto table = collect::full_table(header, journal.entries());
  if (!table.columns.empty()) {
    written.table = journal.path();
    written.table.replace_extension(".parquet");
    DSAPERF_TRY(perfdb::write_columns(written.table, table.columns, table.metadata));
  }
  const auto gemms = collect::gemm_table(header, journal.entries());
  if (!gemms.columns.empty()) {
    written.gemms = journal.path().parent_path() / gemm_file(header.shard);
    written.gemm_rows = gemms.columns.front().texts.size();
    DSAPERF_TRY(perfdb::write_columns(written.gemms, gemms.columns, gemms.metadata));
  }
  return written;
}

Result<ExitCode> show_plan(const CollectFlags& flags, const Subject& subject, const Work& work) {
  // Where no GPU is visible the plan is for another machine.
  if (const auto devices = devices_of(flags);
      !devices && devices.error().code() != Errc::kNotFound) {
    return tl::unexpected<Error>(devices.error());
  }
  if (flags.json) {
    print_with_cases(work_to_json(flags, subject, work), work.cases);
  } else {
    print_work(subject, work);
  }
  return ExitCode::kDone;
}

// What a run did, where its rows are, and what it could not measure.
void show_outcome(const CollectFlags& flags, const Subject& subject, const Work& work,
                  const collect::SourceInfo& source, const collect::Journal& journal,
                  const collect::CollectReport& report, const WrittenTables& written) {
  if (flags.json) {
    auto document = work_to_json(flags, subject, work);
    document["device"] = source.device;
    document["journal"] = journal.path().string();
    document["csv"] = written.csv.string();
    if (!written.table.empty()) document["table"] = written.table.string();
    if (!written.gemms.empty()) document["gemm_table"] = written.gemms.string();
    document["report"] = report_to_json(report);
    for (const auto& failure : report.failures) document["warnings"].push_back(failure);
    print_with_cases(document, work.cases);
  } else {
    print_report(report, journal);
    if (!flags.of_gemms()) fmt::print("{}: {} rows\n", written.csv.string(), written.csv_rows);
    if (!written.gemms.empty()) {
      fmt::print("{}: {} rows\n", written.gemms.string(), written.gemm_rows);
    }
    if (written.without_line > 0) {
      fmt::print("{}: all of them, with {} that a line of the CSV can't say\n",
                 written.table.string(), written.without_line);
    }
  }
  for (const auto& failure : report.failures) fmt::print(stderr, "warning: {}\n", failure);
}

Result<ExitCode> run_collect(const CollectFlags& flags) {
  DSAPERF_TRY_ASSIGN(const auto subject, load_subject(flags.source));
  DSAPERF_TRY_ASSIGN(const auto work, work_of(flags, subject));
  for (const auto& warning : subject.spec.warnings) fmt::print(stderr, "warning: {}\n", warning);
  if (flags.plan_only) return show_plan(flags, subject, work);

  if (work.in_all_shards == 0) {
    const auto& first = work.left_out.front();
    return fail(Errc::kInvalidArgument, "no case of the plan fits {}: {}: {}", subject.system.name,
                first.which.id(), first.reason);
  }
  DSAPERF_TRY_ASSIGN(const auto sources, sources_of(flags, work));
  const collect::JournalHeader header{.model = subject.spec.name,
                                      .architecture = subject.spec.architecture,
                                      .source = sources.front()->info(),
                                      .shard = work.shard};
  DSAPERF_TRY_ASSIGN(auto journal, collect::Journal::open(flags.directory, header, flags.resume));
  DSAPERF_TRY(say_how_to_go_on(flags, work, journal));
  Watcher watcher(work.measured.size(), flags.json_progress);
  const collect::CollectOptions options{.retry_failed = flags.retry_failed};
  const auto watch = [&](const collect::CollectEvent& event) { watcher(event); };
  DSAPERF_TRY_ASSIGN(
      const auto report,
      flags.by_stage()
          ? collect::collect_by_stage(work.cases, subject.layer, sources, journal, options, watch)
          : collect::collect(work.cases, sources, journal, options, watch));
  DSAPERF_TRY_ASSIGN(const auto written, write_tables(header, journal, subject.layer));
  show_outcome(flags, subject, work, header.source, journal, report, written);
  if (!work.cases.empty() && report.rows == 0) {
    return fail(Errc::kNotFound,
                "{}: all {} cases failed, with the reason of each recorded there; --resume "
                "--retry-failed measures them again",
                journal.path().string(), work.cases.size());
  }
  return ExitCode::kDone;
}

void declare_collect(Command& command) {
  auto flags = std::make_shared<CollectFlags>();
  add_source_flags(command, flags->source);
  command.add_option("-o,--output", flags->directory, "Folder of the journal and the tables")
      .required();
  command.add_option("--grid", flags->grid, "standard, deep, or a YAML file")
      .take_last()
      .show_default();
  command.add_option("--heads", flags->heads, "Heads of one rank (default: the model's)")
      .delimiter(',');
  command.add_option("--kv", flags->kv, "Cache formats")
      .one_of({"bf16", "fp8"})
      .delimiter(',')
      .show_default();
  command.add_option("--gemm", flags->gemm, "Projection formats")
      .one_of({"fp8_block", "bf16"})
      .delimiter(',')
      .show_default();
  command
      .add_option("--indexer", flags->roles,
                  "Layers: with an indexer of their own, or sharing a selection")
      .one_of({"full", "shared"})
      .delimiter(',')
      .show_default();
  command.add_option("--scores", flags->scores, "Score distributions")
      .one_of({"model_like", "flat", "peaked"})
      .delimiter(',')
      .show_default();
  command
      .add_option("--launch", flags->launches,
                  "How passes are launched (default: graph; with --timing cpu eager)")
      .one_of({"graph", "eager"})
      .delimiter(',');
  command
      .add_option("--shard", flags->shard,
                  "i/n: this part of the plan (default: Slurm's variables)")
      .readable_by(collect::parse_shard);
  command
      .add_option("--devices", flags->devices,
                  "GPUs to use, one worker each: all, or 0,1 of the visible ones")
      .show_default();
  command
      .add_option("--by", flags->by,
                  "layer: each case whole. stage: each distinct stage once, layers are their sums")
      .one_of({"layer", "stage"})
      .show_default();
  command
      .add_option("--what", flags->what,
                  "layer; gemm: the model's matrix products beside attention (--gemm, --launch)")
      .one_of({"layer", "gemm"})
      .show_default();
  command
      .add_option("--fake-devices", flags->fake_devices,
                  "With --timing fake: how many GPUs there seem to be")
      .positive();
  command.add_flag("--plan-only", flags->plan_only,
                   "List the cases, minutes and memory; measure nothing");
  command.add_flag("--resume", flags->resume, "Go on with what the folder holds");
  command.add_flag("--retry-failed", flags->retry_failed, "Measure failed cases again");
  command.add_flag("--json", flags->json, "One JSON document");
  command.add_flag("--json-progress", flags->json_progress, "One JSON object a case on stderr");
  command.footer(
      "Exit code 1 where no case has a result at the end; where some failed 0, with a warning for "
      "each.\n"
      "Example:\n  dsaperf collect deepseek-ai/DeepSeek-V3.2 -o rows --heads 16,128 --plan-only");
  command.callback([flags] { return run_collect(*flags); });
}

}  // namespace

void add_collect(Command& app) {
  app.add_command("collect", "Measure a layer on a grid of shapes, resumably", declare_collect);
}

}  // namespace dsaperf::tool
