#include "dsaperf/collect/worker.hpp"

#include "dsaperf/collect/json.hpp"
#include "dsaperf/core/fail.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to the program

namespace dsaperf::collect {
namespace {

using nlohmann::json;
using SteadyClock = std::chrono::steady_clock;

Result<void> write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Errc::kIo, "{}", std::strerror(errno));
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Waits for a whole line. A line that is there already is returned at once.
Result<std::string> next_line(int descriptor, std::string& unread,
                              SteadyClock::time_point deadline) {
  while (true) {
    if (const auto end = unread.find('\n'); end != std::string::npos) {
      std::string line = unread.substr(0, end);
      unread.erase(0, end + 1);
      return line;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    if (left.count() <= 0) return fail(Errc::kIo, "no answer in time");
    pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 1 << 30)));
    if (ready < 0 && errno != EINTR) return fail(Errc::kIo, "{}", std::strerror(errno));
    if (ready <= 0) continue;
    std::array<char, 4096> buffer;  // NOLINT(*-member-init): read() fills it
    const auto count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Errc::kIo, "{}", std::strerror(errno));
    if (count == 0) return fail(Errc::kIo, "end of input");
    unread.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("the measuring process ended by signal {} ({})", WTERMSIG(status),
                       ::strsignal(WTERMSIG(status)));
  }
  return fmt::format("the measuring process ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

Result<std::unique_ptr<WorkerSource>> WorkerSource::start(Options options) {
  // A child that has ended must show as an error of write(), not end the collector.
  std::signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<WorkerSource> worker(new WorkerSource(std::move(options)));
  DSAPERF_TRY(worker->spawn());
  return worker;
}

WorkerSource::~WorkerSource() {
  stop();
}

Result<void> WorkerSource::start_child() {
  std::array<int, 2> input{};
  std::array<int, 2> output{};
  if (::pipe2(input.data(), O_CLOEXEC) != 0) return fail(Errc::kIo, "{}", std::strerror(errno));
  if (::pipe2(output.data(), O_CLOEXEC) != 0) {
    const std::string reason = std::strerror(errno);
    ::close(input[0]);
    ::close(input[1]);
    return fail(Errc::kIo, "{}", reason);
  }
  std::vector<char*> arguments;
  for (auto& argument : options_.command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (auto& entry : options_.environment) environment.push_back(entry.data());
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  // A terminal's Ctrl-C and Slurm's SIGTERM are for the collector: a child that they ended before
  // it would be recorded as a failed case.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGINT);
  sigaddset(&blocked, SIGTERM);
  ::posix_spawnattr_setsigmask(&attributes, &blocked);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int status = ::posix_spawnp(&child_, arguments[0], &actions, &attributes, arguments.data(),
                                    environment.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(input[0]);
  ::close(output[1]);
  to_child_ = input[1];
  from_child_ = output[0];
  if (status != 0) {
    child_ = -1;
    stop();
    return fail(Errc::kIo, "{}: {}", options_.command.front(), std::strerror(status));
  }
  return {};
}

Result<void> WorkerSource::spawn() {
  DSAPERF_TRY(start_child());
  auto opening = read_line();
  if (!opening) {
    stop();
    return tl::unexpected<Error>(std::move(opening).error());
  }
  const auto message = json::parse(*opening, nullptr, /*allow_exceptions=*/false);
  if (message.is_object() && message.contains("error") && message["error"].is_string()) {
    stop();
    return fail(Errc::kCuda, "{}", message["error"].get<std::string>());
  }
  auto info = source_from_json(message);
  if (!info) {
    stop();
    return tl::unexpected<Error>(std::move(info).error().with_context("the measuring process"));
  }
  info_ = *std::move(info);
  return {};
}

void WorkerSource::stop() {
  if (to_child_ >= 0) ::close(std::exchange(to_child_, -1));
  if (from_child_ >= 0) ::close(std::exchange(from_child_, -1));
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(std::exchange(child_, -1), nullptr, 0);
  }
  unread_.clear();
}

Result<std::string> WorkerSource::read_line() {
  auto line = next_line(from_child_, unread_, SteadyClock::now() + options_.timeout);
  if (line) return line;
  int status = 0;
  // Its pipe is closed, so it has ended or is about to; one that only hangs is killed.
  if (line.error().message() != "end of input") {
    stop();
    return fail(Errc::kCuda, "the measuring process gave no answer in {} s and was ended",
                options_.timeout.count());
  }
  const int ended = child_;
  child_ = -1;
  ::waitpid(ended, &status, 0);
  stop();
  return fail(Errc::kCuda, "{}", how_it_ended(status));
}

Result<Measurement> WorkerSource::measure(const Case& what) {
  if (child_ < 0) DSAPERF_TRY(spawn());
  // A write that fails has the same cause as the missing answer, which says more.
  (void)write_all(to_child_, json_line({{"id", what.id()}}));
  DSAPERF_TRY_ASSIGN(const auto line, read_line());
  const auto answer = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) {
    stop();
    return fail(Errc::kParse, "the measuring process answered something else: {}",
                line.substr(0, 80));
  }
  if (answer.contains("measurement")) return measurement_from_json(answer["measurement"]);
  if (answer.value("restart", false)) stop();
  return fail(Errc::kCuda, "{}", answer.value("error", "no reason given"));
}

Result<void> serve_worker(TimingSource& source, int input, int output) {
  // A collector that has gone is no error of ours: nobody waits for the answer.
  if (!write_all(output, json_line(source_to_json(source.info())))) return {};
  std::string unread;
  while (true) {
    const auto line = next_line(input, unread, SteadyClock::time_point::max());
    if (!line) return {};  // the collector has gone
    const auto request = json::parse(*line, nullptr, /*allow_exceptions=*/false);
    if (!request.is_object() || !request.contains("id") || !request["id"].is_string()) {
      return fail(Errc::kParse, "not a request: {}", line->substr(0, 80));
    }
    nlohmann::ordered_json answer;
    auto what = Case::from_id(request["id"].get<std::string>());
    auto measured = what ? source.measure(*what)
                         : Result<Measurement>(tl::unexpected<Error>(std::move(what).error()));
    if (measured) {
      answer["measurement"] = measurement_to_json(*measured);
    } else {
      answer["error"] = measured.error().message();
      // After a CUDA error the context answers nothing but that error.
      if (measured.error().code() == Errc::kCuda) answer["restart"] = true;
    }
    if (!write_all(output, json_line(answer))) return {};
  }
}

}  // namespace dsaperf::collect
