#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace dsaperf {

// One line that says how far a long job is, how fast it goes and what is left:
//   collect  ███████▌        182/400 cases  3.1 cases/s  1 min 10 s left
// It is rewritten in place at most ten times a second and removed when the object goes. Where the
// sink is empty, as terminal_sink() is without a terminal, it does nothing: logs stay free of it.
//
//   Progress progress({.what = "collect", .total = plan.size(), .unit = "cases"}, terminal_sink());
//   for (const auto& item : plan) { ...; progress.advance(1); }
//
// Not thread-safe: one owner advances it.
class Progress {
 public:
  using Sink = std::function<void(std::string_view)>;
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  struct Options {
    std::string what;
    std::int64_t total = 0;  // 0: not known, then only the count and the rate are shown
    std::string unit;
    int width = 80;  // columns; the bar takes what the words leave
  };

  Progress(Options options, Sink sink, Clock clock = std::chrono::steady_clock::now);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  void advance(std::int64_t count);
  // Work found done already (resumed): counts as done, but not in the rate.
  void skip(std::int64_t count);

 private:
  void draw();
  std::string line(std::chrono::duration<double> elapsed) const;

  Options options_;
  Sink sink_;
  Clock clock_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
  bool shown_ = false;
  std::int64_t done_ = 0;
  std::int64_t skipped_ = 0;
};

// Writes to stderr if that is a terminal; empty if it is not.
Progress::Sink terminal_sink();

// "12 s", "3 min 5 s", "2 h 10 min": two units at most; below ten seconds one decimal.
std::string duration_text(double seconds);

}  // namespace dsaperf
