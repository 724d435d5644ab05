#include "profile.hpp"

#include "dsaperf/collect/gpu_source.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/profile/launch.hpp"
#include "dsaperf/trace/export.hpp"
#include "dsaperf/trace/importers/own_trace.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace dsaperf::tool {
namespace {

struct ProfileOptions {
  std::vector<std::string> words;                  // CONFIG, or a command with its arguments
  std::string batch, new_tokens, past, heads, kv;  // of `run`, for CONFIG
  std::string output = "profile.json.gz";
  std::string summary_csv;
  std::string trace_csv;
  std::string chrome;
  std::string keep;
  std::optional<std::string> range;  // without one: of a layer the timed passes
  bool json = false;
};

// A program that can be run, as opposed to a config.json, its folder or the name of a model.
bool is_program(const std::string& word) {
  std::error_code error;
  const auto runs = [&](const std::filesystem::path& path) {
    return std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
  };
  if (word.find('/') != std::string::npos) return runs(word);
  const char* variable = std::getenv("PATH");
  std::string_view path = variable == nullptr ? "" : variable;
  while (!path.empty()) {
    const auto folder = path.substr(0, path.find(':'));
    if (runs(std::filesystem::path(folder) / word)) return true;
    path.remove_prefix(std::min(path.size(), folder.size() + 1));
  }
  return false;
}

Result<void> write_text(const std::filesystem::path& path, const std::string& text) {
  return path.extension() == ".gz" ? write_gzip(path, text) : write_file(path, text);
}

std::string report_json(const ProfileOptions& options, const profile::ProfiledRun& run,
                        const trace::Timeline& timeline, const std::vector<double>& overheads) {
  nlohmann::ordered_json json = {{"format", "dsaperf.profile.1"},
                                 {"trace", options.output},
                                 {"exit_code", run.exit_code},
                                 {"wall_ns", run.wall_ns},
                                 {"kernels", timeline.launches.size()}};
  json["processes"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < run.processes.size(); ++i) {
    const auto& process = run.processes[i];
    json["processes"].push_back({{"process", process.process},
                                 {"command", process.command},
                                 {"ended", process.ended},
                                 {"dropped", process.dropped},
                                 {"overhead_ns", overheads[i]}});
  }
  json["warnings"] = timeline.warnings;
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<void> write_traces(const ProfileOptions& options, const trace::Timeline& timeline) {
  DSAPERF_TRY(write_text(options.output, trace::own_trace_text(timeline)));
  if (!options.summary_csv.empty()) {
    DSAPERF_TRY(write_text(options.summary_csv, trace::nsys_summary_csv(timeline)));
  }
  if (!options.trace_csv.empty()) {
    DSAPERF_TRY(write_text(options.trace_csv, trace::nsys_trace_csv(timeline)));
  }
  if (!options.chrome.empty()) {
    DSAPERF_TRY(write_text(options.chrome, trace::chrome_trace_json(timeline)));
  }
  return {};
}

// What is run: the command after --, or `dsaperf run` of the layer, which needs a model and a GPU.
Result<std::vector<std::string>> command_of(const ProfileOptions& options) {
  auto command = options.words;
  if (!is_program(command[0])) {
    DSAPERF_TRY(model::load_model(command[0]).map_error([](Error error) {
      return std::move(error).with_context("neither a program that can be run nor a model");
    }));
    if (collect::visible_gpus() == 0)
      return fail(Errc::kNotFound, "no GPU: the driver shows none; a layer is profiled on one");
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error).native();
    command.insert(command.begin(), {self, "run"});
    // Launched one by one: the ranges that name the stage of a kernel are the host's.
    command.insert(command.end(), {"--device", "gpu", "--launch", "eager"});
    for (const auto& [flag, value] : {std::pair("--batch", &options.batch),
                                      {"--new", &options.new_tokens},
                                      {"--past", &options.past},
                                      {"--heads", &options.heads},
                                      {"--kv", &options.kv}}) {
      if (!value->empty()) command.insert(command.end(), {flag, *value});
    }
  }
  return command;
}

Result<ExitCode> profile_command(const ProfileOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto library, profile::injection_library());
  DSAPERF_TRY_ASSIGN(const auto command, command_of(options));
  std::error_code error;
  const auto logs = options.keep.empty() ? std::filesystem::temp_directory_path(error) /
                                               fmt::format("dsaperf-profile-{}", getpid())
                                         : std::filesystem::path(options.keep);
  auto run = profile::run_profiled(
      command, library, logs,
      options.json ? profile::CommandOutput::kToErrors : profile::CommandOutput::kPassed);
  if (options.keep.empty()) std::filesystem::remove_all(logs, error);
  if (!run) return tl::unexpected(std::move(run).error());
  if (run->processes.empty()) {
    return fail(Errc::kNotFound,
                "{}: no process used CUDA with the injection in it (exit code {}); a program that "
                "clears its environment, or whose driver is older than CUDA 11, is not reached",
                command[0], run->exit_code);
  }
  std::vector<double> overheads;
  double overhead_ns = 0;
  for (const auto& process : run->processes) {
    overheads.push_back(process.overhead_ns);
    overhead_ns += process.overhead_ns;
  }
  auto timeline = profile::merged(run->processes);
  if (options.range) {
    DSAPERF_TRY(trace::trim_to_range(timeline, *options.range));
  } else if (!is_program(options.words[0])) {
    profile::keep_timed_passes(timeline);
  }
  if (timeline.launches.empty()) {
    timeline.warnings.emplace_back("CUDA was used, but no kernel ran");
  }
  for (const auto& warning : timeline.warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  }
  DSAPERF_TRY(write_traces(options, timeline));
  if (options.json) {
    std::fputs(report_json(options, *run, timeline, overheads).c_str(), stdout);
  } else {
    std::fputs(
        fmt::format("{} kernels of {} process{} in {:.3f} s; profiling itself took {:.1f} ms "
                    "({:.2f} % of the time), as CUPTI counts it\n{}: dsaperf trace show {}\n",
                    timeline.launches.size(), run->processes.size(),
                    run->processes.size() == 1 ? "" : "es", run->wall_ns / 1e9, overhead_ns / 1e6,
                    100 * overhead_ns / run->wall_ns, options.output, options.output)
            .c_str(),
        stdout);
  }
  if (run->exit_code != 0) {
    return fail(Errc::kInvalidArgument, "{}: exit code {}; its trace was written all the same",
                command[0], run->exit_code);
  }
  return ExitCode::kDone;
}

void declare_profile(Command& command) {
  auto options = std::make_shared<ProfileOptions>();
  command.add_option("COMMAND", options->words, "CONFIG, or after -- a command and its arguments")
      .required();
  command.add_option("--batch", options->batch, "With CONFIG: requests");
  command.add_option("--new", options->new_tokens, "With CONFIG: new tokens of each request");
  command.add_option("--past", options->past,
                     "With CONFIG: tokens of each request in the cache before");
  command.add_option("--heads", options->heads, "With CONFIG: attention heads of one rank");
  command.add_option("--kv", options->kv, "With CONFIG: format of the latent cache");
  command.add_option("-o,--output", options->output, "Where the trace goes; .gz is packed")
      .show_default();
  command.add_option("--csv", options->summary_csv, "Kernel table as nsys's cuda_gpu_kern_sum");
  command.add_option("--trace-csv", options->trace_csv, "Every launch as nsys's cuda_gpu_trace");
  command.add_option("--chrome", options->chrome, "Chrome trace, for Perfetto");
  command.add_option("--range", options->range,
                     "Only what was launched inside NVTX ranges of this name, which leaves "
                     "warm-up out (CONFIG: timed, its warm passes)");
  command.add_option("--keep", options->keep, "Keep the log of each process in this folder");
  command.add_flag("--json", options->json,
                   "One JSON document; what the command prints goes to standard error");
  command.footer(
      "CONFIG and the flags of `run` profile one layer; after -- any command, with its children.\n"
      "Example: dsaperf profile -o served.json.gz -- python -m sglang.launch_server --model ...");
  command.callback([options] { return profile_command(*options); });
}

}  // namespace

void add_profile(Command& app) {
  app.add_command("profile",
                  "Record the kernels of a layer, or of any command that uses CUDA, with CUPTI",
                  declare_profile);
}

}  // namespace dsaperf::tool
