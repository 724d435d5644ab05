#include "last_words.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/split.hpp"
#include "dsaperf/integrate/command_runner.hpp"

#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string_view>

namespace dsaperf::tool {
namespace {

std::string& last_words() {
  static std::string text;
  return text;
}

// Calls nothing that a signal's handler may not.
extern "C" void end_with_last_words(int signal) {
  const auto& text = last_words();
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
  ::raise(signal);  // the default action, due once this handler has returned
}

}  // namespace

void leave_last_words(const std::string& text) {
  // Behind a bar, which stands in the line that ^C was printed in.
  last_words() = (::isatty(STDERR_FILENO) != 0 ? "\n" : "") + text;
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction now{};
    ::sigaction(signal, nullptr, &now);
    if (now.sa_handler == SIG_IGN) continue;
    struct sigaction ours{};
    ours.sa_handler = end_with_last_words;
    ours.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(signal, &ours, nullptr);
  }
}

Result<std::string> command_line_with(const std::vector<std::string>& more) {
  constexpr const char* kPath = "/proc/self/cmdline";  // each word with a NUL behind it
  std::ifstream file(kPath, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) return fail(Errc::kIo, "{}: could not be read", kPath);
  std::vector<std::string> words;
  for (const auto word : split(std::string_view(text).substr(0, text.size() - 1), '\0')) {
    words.emplace_back(word);
  }
  words.insert(words.end(), more.begin(), more.end());
  return integrate::shell_line(words);
}

}  // namespace dsaperf::tool
