#include "dsaperf/integrate/command_runner.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

extern char** environ;

namespace dsaperf::integrate {
namespace {

constexpr Bytes kMostOutput{std::int64_t{256} << 20};
constexpr std::size_t kMostErrors = 4096;

// read_file refuses an empty file, which is nothing wrong here.
std::string content(const std::filesystem::path& path) {
  return read_file(path, kMostOutput).value_or(std::string());
}

}  // namespace

Result<Ended> ProcessRunner::run(const std::vector<std::string>& words) {
  std::error_code error;
  std::filesystem::create_directories(scratch_, error);
  const auto output = scratch_ / "stdout";
  const auto errors = scratch_ / "stderr";
  auto owned = words;
  owned.insert(owned.begin(), program_.native());
  std::vector<char*> arguments;
  for (auto& word : owned) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), kFlags, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), kFlags, 0644);
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
  ended.output = content(output);
  ended.errors = content(errors);
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
