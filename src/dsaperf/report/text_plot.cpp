#include "dsaperf/report/text_plot.hpp"

#include "dsaperf/core/wrapped.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace dsaperf::report {
namespace {

constexpr int kLabelWidth = 9;  // "1.23e-05 "

bool has_place(double x, double y) {
  return std::isfinite(x) && std::isfinite(y) && x > 0 && y > 0;
}

// Logarithmic positions of a range of values on `cells` cells.
class Scale {
 public:
  explicit Scale(int cells) : cells_(cells) {}

  void take(double value) {
    least_ = std::min(least_, value);
    most_ = std::max(most_, value);
  }
  int cell(double value) const {
    if (most_ <= least_) return 0;
    const double share = std::log(value / least_) / std::log(most_ / least_);
    return std::clamp(static_cast<int>(std::lround(share * (cells_ - 1))), 0, cells_ - 1);
  }
  double least() const { return least_; }
  double most() const { return most_; }
  double middle() const { return std::sqrt(least_ * most_); }

 private:
  int cells_;
  double least_ = std::numeric_limits<double>::infinity();
  double most_ = 0;
};

char letter(std::size_t index) {
  return static_cast<char>('A' + index % 26);
}

}  // namespace

std::string text_plot(const std::vector<PlotSeries>& series, const PlotOptions& options) {
  const int columns = std::max(options.width - kLabelWidth - 2, 20);
  const int lines = std::max(options.height, 3);
  Scale across(columns);
  Scale up(lines);
  bool any = false;
  const auto for_each_point = [&](const auto& visit) {
    for (std::size_t s = 0; s < series.size(); ++s) {
      for (std::size_t i = 0; i < std::min(series[s].x.size(), series[s].y.size()); ++i) {
        if (has_place(series[s].x[i], series[s].y[i])) visit(s, series[s].x[i], series[s].y[i]);
      }
    }
  };
  for_each_point([&](std::size_t, double x, double y) {
    across.take(x);
    up.take(y);
    any = true;
  });
  if (!any) return {};

  std::vector<std::string> cells(static_cast<std::size_t>(lines),
                                 std::string(static_cast<std::size_t>(columns), ' '));
  for_each_point([&](std::size_t s, double x, double y) {
    auto& cell = cells[static_cast<std::size_t>(lines - 1 - up.cell(y))]
                      [static_cast<std::size_t>(across.cell(x))];
    cell = cell == ' ' || cell == letter(s) ? letter(s) : '*';
  });

  std::string text = options.y_label + '\n';
  for (int line = 0; line < lines; ++line) {
    std::string label;
    if (line == 0) label = fmt::format("{:.3g}", up.most());
    if (line == lines / 2 && up.most() > up.least()) label = fmt::format("{:.3g}", up.middle());
    if (line == lines - 1) label = fmt::format("{:.3g}", up.least());
    text += fmt::format("{:>{}} |{}\n", label, kLabelWidth, cells[static_cast<std::size_t>(line)]);
  }
  text += fmt::format("{:>{}} +{}\n", "", kLabelWidth,
                      std::string(static_cast<std::size_t>(columns), '-'));
  const auto least = fmt::format("{:.6g}", across.least());
  const auto most = fmt::format("{:.6g}", across.most());
  text += fmt::format("{:>{}}  {}{:>{}}\n", "", kLabelWidth, least, most,
                      std::max(columns - static_cast<int>(least.size()), 1));
  text += fmt::format("{:>{}}  {:^{}}\n", "", kLabelWidth, options.x_label, columns);
  const std::string indent(kLabelWidth + 1, ' ');
  for (std::size_t s = 0; s < series.size(); ++s) {
    text += wrapped(fmt::format("{:>{}} {}\n", letter(s), kLabelWidth, series[s].name),
                    options.width, {.indent = indent});
  }
  return text;
}

}  // namespace dsaperf::report
