#include "collect_source.hpp"

#include "config_flag.hpp"
#include "document.hpp"
#include "dsaperf/collect/cpu_source.hpp"
#include "dsaperf/collect/fake_source.hpp"
#include "dsaperf/collect/gpu_source.hpp"
#include "dsaperf/collect/worker.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/load_model.hpp"

#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace dsaperf::tool {
namespace {

Result<std::unique_ptr<collect::TimingSource>> source_of(const SourceFlags& flags) {
  DSAPERF_TRY_ASSIGN(auto subject, load_subject(flags));
  if (flags.timing == "fake") {
    return std::make_unique<collect::FakeSource>(
        subject.layer, subject.system,
        collect::FakeSource::Options{.delay = std::chrono::milliseconds(flags.fake_delay_ms),
                                     .fails_on = flags.fake_fails_on,
                                     .dies_on = flags.fake_dies_on});
  }
  collect::LayerSource::Options options{.cache_pages = flags.cache_pages,
                                        .version = DSAPERF_VERSION};
  if (flags.timing == "cpu") return collect::cpu_source(std::move(subject.spec), options);
  return collect::gpu_source(std::move(subject.spec), options);
}

// Whatever is being measured then, nobody waits for it: a GPU or all cores are free again.
void end_with_the_collector() {
  std::thread([] {
    pollfd requests{.fd = STDIN_FILENO, .events = 0, .revents = 0};  // POLLHUP comes unasked
    while (::poll(&requests, 1, -1) < 0 && errno == EINTR) {
    }
    std::_Exit(0);
  }).detach();
}

Result<ExitCode> run_worker(const SourceFlags& flags) {
  end_with_the_collector();
  auto source = source_of(flags);
  if (!source) {
    // The collector waits for a first line: this one says why there is no other.
    fmt::print("{}\n", document_line({{"error", source.error().message()}}));
    return ExitCode::kDone;
  }
  DSAPERF_TRY(collect::serve_worker(**source, STDIN_FILENO, STDOUT_FILENO));
  return ExitCode::kDone;
}

}  // namespace

void add_source_flags(Command& command, SourceFlags& flags) {
  add_config_of_processes(command, flags.config).required();
  command.add_option("--system", flags.system, "Card that the plan is for; not with --timing cpu")
      .show_default();
  command
      .add_option("--timing", flags.timing,
                  "gpu; cpu: this machine's cores, slow, eager; fake: times from the bound, for a "
                  "trial")
      .one_of({"gpu", "cpu", "fake"})
      .show_default();
  command
      .add_option("--fake-delay-ms", flags.fake_delay_ms, "With --timing fake: time a case takes")
      .not_negative();
  command.add_option("--fake-dies-on", flags.fake_dies_on,
                     "With --timing fake: cases whose id holds this end the measuring process");
  command.add_option("--fake-fails-on", flags.fake_fails_on,
                     "With --timing fake: cases whose id holds this fail");
}

Result<Subject> load_subject(const SourceFlags& flags) {
  DSAPERF_TRY_ASSIGN(auto spec, model::load_model(flags.config));
  const auto layer = model::typical_layer(spec);
  if (flags.timing == "cpu") {
    DSAPERF_TRY_ASSIGN(auto machine, collect::this_machine());
    return Subject{std::move(spec), layer, std::move(machine)};
  }
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  DSAPERF_TRY_ASSIGN(auto system, cost::find_system(data, flags.system));
  return Subject{std::move(spec), layer, std::move(system)};
}

Result<std::vector<std::unique_ptr<collect::TimingSource>>> start_workers(
    const SourceFlags& flags, const std::vector<std::string>& devices) {
  std::error_code code;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) return fail(Errc::kIo, "/proc/self/exe: {}", code.message());
  std::vector<std::unique_ptr<collect::TimingSource>> sources;
  for (const auto& device : devices) {
    DSAPERF_TRY_ASSIGN(auto worker,
                       collect::WorkerSource::start(
                           {.command = {self.string(), "collect-worker", flags.config, "--system",
                                        flags.system, "--timing", flags.timing, "--fake-delay-ms",
                                        fmt::format("{}", flags.fake_delay_ms), "--fake-dies-on",
                                        flags.fake_dies_on, "--fake-fails-on", flags.fake_fails_on,
                                        "--cache-pages", fmt::format("{}", flags.cache_pages)},
                            .environment = {fmt::format("CUDA_VISIBLE_DEVICES={}", device)}}));
    sources.push_back(std::move(worker));
  }
  return sources;
}

void add_collect_worker(Command& app) {
  app.add_command("collect-worker", "Measures for collect, over stdin and stdout",
                  [](Command& command) {
                    auto flags = std::make_shared<SourceFlags>();
                    add_source_flags(command, *flags);
                    command.add_option("--cache-pages", flags->cache_pages,
                                       "Pages of the plan's largest case");
                    command.callback([flags] { return run_worker(*flags); });
                  })
      .hide();
}

}  // namespace dsaperf::tool
