#include "dsaperf/profile/launch.hpp"

#include "dsaperf/core/fail.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

extern char** environ;

namespace dsaperf::profile {
namespace {

constexpr const char* kLibrary = "libdsaperf_inject.so";

// The environment with these set, whatever it held of them.
std::vector<std::string> environment_with(const std::vector<std::string>& settings) {
  std::vector<std::string> result = settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto key = text.substr(0, text.find('=') + 1);
    const bool replaced = std::any_of(settings.begin(), settings.end(), [&](const auto& setting) {
      return std::string_view(setting).starts_with(key);
    });
    if (!replaced) result.emplace_back(text);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::filesystem::path> logs_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".activity") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Result<ProfiledRun> run_profiled(const std::vector<std::string>& command,
                                 const std::filesystem::path& injection,
                                 const std::filesystem::path& logs, CommandOutput output) {
  if (command.empty()) return fail(Errc::kInvalidArgument, "no command to run");
  std::error_code error;
  std::filesystem::create_directories(logs, error);
  if (error) return fail(Errc::kIo, "{}: {}", logs.native(), error.message());
  if (!logs_in(logs).empty()) {
    return fail(Errc::kInvalidArgument,
                "{} holds logs of another run, which would be merged with this one; remove them or "
                "name another folder",
                logs.native());
  }
  const auto library = std::filesystem::absolute(injection).native();
  auto environment =
      environment_with({"CUDA_INJECTION64_PATH=" + library, "NVTX_INJECTION64_PATH=" + library,
                        "DSAPERF_PROFILE_DIR=" + std::filesystem::absolute(logs).native()});
  auto words = command;
  const auto arguments = pointers(words);
  const auto settings = pointers(environment);

  const auto start = std::chrono::steady_clock::now();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output == CommandOutput::kToErrors) {
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  }
  pid_t child = 0;
  const int status =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), settings.data());
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) return fail(Errc::kNotFound, "{}: {}", command[0], std::strerror(status));
  // Ctrl-C reaches the command as well; it decides when to end, and its trace is still read.
  const auto interrupt = std::signal(SIGINT, SIG_IGN);
  int how = 0;
  while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
  }
  std::signal(SIGINT, interrupt);
  ProfiledRun run;
  run.wall_ns =
      std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
  run.exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);

  for (const auto& file : logs_in(logs)) {
    DSAPERF_TRY_ASSIGN(auto recording, read_activity_log(file));
    run.processes.push_back(std::move(recording));
  }
  return run;
}

Result<std::filesystem::path> injection_library() {
  const char* named = std::getenv("DSAPERF_INJECT");
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return injection_library(program, named == nullptr ? "" : named);
}

Result<std::filesystem::path> injection_library(const std::filesystem::path& program,
                                                const std::filesystem::path& named) {
  std::error_code error;
  if (!named.empty()) {
    if (std::filesystem::is_regular_file(named, error)) return named;
    return fail(Errc::kNotFound, "DSAPERF_INJECT names {}, which is no file", named.native());
  }
  const auto folder = program.parent_path();
  std::vector<std::filesystem::path> places = {folder, folder / "../lib", folder / "../lib/dsaperf",
                                               folder / "../lib64/dsaperf",
                                               folder / "../../src/dsaperf/profile"};
  // A Debian package has it under the triplet: ../lib/x86_64-linux-gnu/dsaperf.
  for (const auto& entry : std::filesystem::directory_iterator(folder / "../lib", error)) {
    places.push_back(entry.path() / "dsaperf");
  }
  for (const auto& place : places) {
    if (std::filesystem::is_regular_file(place / kLibrary, error)) {
      return std::filesystem::canonical(place / kLibrary, error);
    }
  }
  return fail(Errc::kUnsupported,
              "{} is neither beside {} nor in ../lib or ../lib/dsaperf of it: a program built "
              "without CUDA has none; build with preset release, or name one by DSAPERF_INJECT",
              kLibrary, program.native());
}

}  // namespace dsaperf::profile
