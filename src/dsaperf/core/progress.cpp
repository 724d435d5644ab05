#include "dsaperf/core/progress.hpp"

#include "dsaperf/core/text_table.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace dsaperf {
namespace {

constexpr std::chrono::milliseconds kRedrawEvery{100};
constexpr int kWidestBar = 30;
constexpr int kNarrowestBar = 5;
constexpr std::string_view kClearLine = "\r\033[K";

std::string rate_text(double per_second) {
  if (per_second >= 100) return fmt::format("{:.0f}", per_second);
  return fmt::format("{:.2g}", per_second);
}

}  // namespace

Progress::Progress(Options options, Sink sink, Clock clock)
    : options_(std::move(options)),
      sink_(std::move(sink)),
      clock_(std::move(clock)),
      start_(clock_()) {
}

Progress::~Progress() {
  if (shown_) sink_(kClearLine);
}

void Progress::advance(std::int64_t count) {
  done_ += count;
  draw();
}

void Progress::skip(std::int64_t count) {
  done_ += count;
  skipped_ += count;
  draw();
}

void Progress::draw() {
  if (!sink_) return;
  const auto now = clock_();
  if (shown_ && now - drawn_ < kRedrawEvery) return;
  drawn_ = now;
  shown_ = true;
  sink_(std::string(kClearLine) + line(now - start_));
}

std::string Progress::line(std::chrono::duration<double> elapsed) const {
  const double rate =
      elapsed.count() > 0 ? static_cast<double>(done_ - skipped_) / elapsed.count() : 0;
  std::string words = options_.total > 0
                          ? fmt::format("{}/{} {}", done_, options_.total, options_.unit)
                          : fmt::format("{} {}", done_, options_.unit);
  if (rate > 0) {
    words += fmt::format("  {} {}/s", rate_text(rate), options_.unit);
    if (options_.total > done_) {
      words += fmt::format("  {} left",
                           duration_text(static_cast<double>(options_.total - done_) / rate));
    }
  }
  std::string text = options_.what + "  ";
  const int room = options_.width - text_width(text) - text_width(words) - 3;
  if (options_.total > 0 && room >= kNarrowestBar) {
    const double share = static_cast<double>(done_) / static_cast<double>(options_.total);
    text += share_bar(share, std::min(room, kWidestBar)) + "  ";
  }
  return text + words;
}

Progress::Sink terminal_sink() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  };
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = std::llround(std::min(seconds, 1e15));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace dsaperf
