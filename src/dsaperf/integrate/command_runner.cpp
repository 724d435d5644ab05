#include "dsaperf/integrate/command_runner.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

extern char** environ;

namespace dsaperf::integrate {
namespace {

constexpr Bytes kMostOutput{std::int64_t{256} << 20};
constexpr std::size_t kMostErrors = 4096;

using NamelessFile = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

Result<NamelessFile> nameless_file() {
  const int descriptor = memfd_create("printed", MFD_CLOEXEC);
  NamelessFile file(descriptor < 0 ? nullptr : fdopen(descriptor, "r+"), &std::fclose);
  if (!file) return fail(Errc::kIo, "no file for what a command prints: {}", std::strerror(errno));
  return file;
}

std::string content(std::FILE* file) {
  // read_file refuses an empty file, which is nothing wrong here.
  return read_file(fmt::format("/proc/self/fd/{}", fileno(file)), kMostOutput)
      .value_or(std::string());
}

}  // namespace

Result<Ended> ProcessRunner::run(const std::vector<std::string>& words) {
  DSAPERF_TRY_ASSIGN(const auto output, nameless_file());
  DSAPERF_TRY_ASSIGN(const auto errors, nameless_file());
  auto owned = words;
  owned.insert(owned.begin(), program_.native());
  std::vector<char*> arguments;
  for (auto& word : owned) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, fileno(output.get()), 1);
  posix_spawn_file_actions_adddup2(&actions, fileno(errors.get()), 2);
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int status =
      posix_spawn(&child, program_.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) {
    return fail(Errc::kIo, "{}: {}", program_.native(), std::strerror(status));
  }
  int how = 0;
  while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
  }
  Ended ended;
  ended.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ended.exit_code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
  ended.output = content(output.get());
  ended.errors = content(errors.get());
  if (ended.errors.size() > kMostErrors) {
    ended.errors.erase(0, ended.errors.size() - kMostErrors);
  }
  return ended;
}

std::string shell_line(const std::vector<std::string>& words) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:+@%";
  std::string line;
  for (const auto& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

}  // namespace dsaperf::integrate
