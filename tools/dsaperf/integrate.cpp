#include "integrate.hpp"

#include "config_flag.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/integrate/integration.hpp"
#include "dsaperf/op/gpu_backend.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "length_flags.hpp"
#include "systems_flag.hpp"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace dsaperf::tool {
namespace {

struct Flags {
  integrate::Options options;
  std::string output;
  std::string device = "auto";
  std::string collect = "none";
  std::vector<std::string> skip, only;
  bool json = false;
};

// Size and time of every file below a folder: changes when a table does, without reading them.
std::string listing(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator file(folder, error), end; file != end;
       file.increment(error)) {
    if (!file->is_regular_file(error)) continue;
    lines.push_back(fmt::format("{} {} {}", file->path().native(), file->file_size(error),
                                file->last_write_time(error).time_since_epoch().count()));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, "\n"));
}

// The program, the shipped data and the tables of the chosen systems.
std::string environment_of(const integrate::Options& options, const std::filesystem::path& self) {
  std::error_code error;
  auto text = fmt::format("{} {} {}", self.native(), std::filesystem::file_size(self, error),
                          std::filesystem::last_write_time(self, error).time_since_epoch().count());
  if (const auto data = data_dir()) text += "\n" + listing(*data);
  if (const auto tree = perfdb::SystemsTree::discover(options.systems_root)) {
    for (const auto& system : options.systems) {
      text += "\n" + listing(tree->root() / "data" / system);
    }
  }
  return text;
}

// Of no card there would be an empty report.
Result<void> check_systems(const integrate::Options& options) {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  const auto tree = perfdb::SystemsTree::discover(options.systems_root);
  for (const auto& system : options.systems) {
    if (tree && tree->system(system)) continue;
    DSAPERF_TRY(cost::find_system(data, system));
  }
  return {};
}

Result<bool> use_gpu(const std::string& device) {
  if (device == "cpu") return false;
  const auto gpu = op::gpu_backend();
  if (!gpu && device == "gpu") return tl::unexpected(gpu.error());
  return gpu.has_value();
}

std::string json_text(const integrate::Outcome& outcome) {
  const nlohmann::ordered_json json = {{"format", "dsaperf.integrate.1"},
                                       {"report", outcome.page.native()},
                                       {"commands_run", outcome.done},
                                       {"commands_reused", outcome.reused},
                                       {"failures", outcome.failures}};
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<ExitCode> run_integrate(Flags flags) {
  auto& options = flags.options;
  options.directory = flags.output;
  options.collect = flags.collect == "standard";
  options.program = "dsaperf " DSAPERF_VERSION;
  DSAPERF_TRY(check_systems(options));
  DSAPERF_TRY_ASSIGN(options.gpu, use_gpu(flags.device));
  options.skipped.insert(flags.skip.begin(), flags.skip.end());
  if (!flags.only.empty()) {
    for (const auto phase : integrate::kPhases) {
      const bool wanted = phase == "analyze" || std::find(flags.only.begin(), flags.only.end(),
                                                          phase) != flags.only.end();
      if (!wanted) options.skipped.emplace(phase);
    }
  }
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto environment = environment_of(options, self);
  options.environment =
      fmt::format("{:016x}", std::hash<std::string>{}(environment));  // of this program alone
  integrate::ProcessRunner runner(self);
  const auto start = std::chrono::steady_clock::now();
  const auto outcome =
      integrate::integrate(options, runner, [](std::string_view phase, const std::string& line) {
        std::fputs(fmt::format("{:<8} {}\n", phase, line).c_str(), stderr);
      });
  if (!outcome) return tl::unexpected(outcome.error());
  for (const auto& failure : outcome->failures) {
    std::fprintf(stderr, "warning: %s\n", failure.c_str());
  }
  if (flags.json) {
    std::fputs(json_text(*outcome).c_str(), stdout);
    return ExitCode::kDone;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fputs(
      fmt::format("{}\n{} command{} run, {} reused, {:.1f} s\n{}\n", outcome->text, outcome->done,
                  outcome->done == 1 ? "" : "s", outcome->reused, seconds, outcome->page.native())
          .c_str(),
      stdout);
  return ExitCode::kDone;
}

void declare_integrate(Command& command) {
  auto flags = std::make_shared<Flags>();
  auto& options = flags->options;
  options.systems = {"h200_sxm"};
  options.ttft_limit_ms = 3000;
  options.tpot_limit_ms = 40;
  add_config_of_processes(command, options.config).required();
  command.add_option("-o,--output", flags->output, "Folder of the report").required();
  command
      .add_option("--system", options.systems,
                  "Cards to predict for, as h200_sxm,b200_sxm; the first is collected for")
      .delimiter(',')
      .show_default();
  add_systems(command, options.systems_root);
  command.add_option("--reference", options.reference,
                     "Recording of the served model, to align with");
  command.add_option("--mock", options.mock,
                     "Recording of the layer alone (else it is profiled where there is a GPU)");
  command
      .add_option("--device", flags->device,
                  "Where the layer runs; auto: on a GPU where there is one")
      .one_of({"auto", "cpu", "gpu"})
      .show_default();
  command
      .add_option("--collect", flags->collect,
                  "none: use the tables that are there; standard: measure the standard grid")
      .one_of({"none", "standard"})
      .show_default();
  command.add_option("--heads", options.heads, "Attention heads of one rank (default: 16, or all)")
      .positive();
  command.add_option("--gpus", options.gpus, "GPUs to deploy on").between(1, 1024).show_default();
  add_lengths(command, options.isl, options.osl);
  command.option("--isl").show_default();
  command.option("--osl").show_default();
  command
      .add_option("--ttft", options.ttft_limit_ms, "Longest time to the first token, ms; 0: none")
      .not_negative()
      .show_default();
  command.add_option("--tpot", options.tpot_limit_ms, "Longest time a token, ms; 0: none")
      .not_negative()
      .show_default();
  const std::vector<std::string> phases(integrate::kPhases.begin(), integrate::kPhases.end());
  const auto skip = command.add_option("--skip", flags->skip, "Phases to leave out")
                        .delimiter(',')
                        .one_of(phases);
  command.add_option("--only", flags->only, "Phases to run alone (and analyze)")
      .delimiter(',')
      .one_of(phases)
      .excludes(skip);
  command.add_flag("--fresh", options.fresh, "Run everything again");
  command.add_flag("--json", flags->json, "One JSON document");
  command.footer(
      "A second run repeats only what has changed. Exit code 0 once the report is written, "
      "whatever it says.\n"
      "Example:\n  dsaperf integrate deepseek-ai/DeepSeek-V3.2 -o report\n"
      "  dsaperf integrate GLM-5.3/config.json -o glm --reference served.sqlite --system "
      "h200_sxm,b200_sxm");
  command.callback([flags] { return run_integrate(*flags); });
}

}  // namespace

void add_integrate(Command& app) {
  app.add_command("integrate",
                  "All phases for one model, and one report: what it is, whether the layer is "
                  "right, how fast, what to deploy",
                  declare_integrate);
}

}  // namespace dsaperf::tool
