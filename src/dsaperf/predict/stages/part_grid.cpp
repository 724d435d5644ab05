#include "dsaperf/predict/stages/part_grid.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

namespace dsaperf::predict::stages {
namespace {

constexpr std::size_t kMostCells = 1U << 21U;
constexpr double kLineShare = 0.25;  // of the rows that the commonest value of the axis has

// Of sizes, which are 0 or 1 and more; those of 2^31 and more as 2^31.
std::size_t exponent_of(double size) {
  constexpr std::uint64_t kBias = 1023;
  constexpr std::uint64_t kMost = 31;
  const auto biased = std::bit_cast<std::uint64_t>(size) >> 52U;
  return biased > kBias ? std::min(biased - kBias, kMost) : 0;
}

// Past counts from 0.
double log_of(std::size_t axis, double value) {
  return std::log2(axis == 3 ? value + 1 : value);
}

}  // namespace

PartGrid::PartGrid(std::span<const Sizes> rows) {
  std::size_t cells = 1;
  for (std::size_t a = 0; a < kAxes; ++a) {
    auto& axis = axes_[a];
    std::map<double, std::size_t> counts;
    for (const auto& row : rows) ++counts[row.axes()[a]];
    std::size_t most = 0;
    for (const auto& [value, count] : counts) most = std::max(most, count);
    for (const auto& [value, count] : counts) {
      values_[a].push_back(value);
      if (static_cast<double>(count) >= kLineShare * static_cast<double>(most))
        axis.lines.push_back(value);
    }
    for (std::size_t i = 0; i + 1 < axis.lines.size(); ++i) {
      const double log = log_of(a, axis.lines[i]);
      axis.intervals.push_back(
          {.log = log, .per_octave = 1 / (log_of(a, axis.lines[i + 1]) - log)});
    }
    for (std::size_t e = 0; e < axis.from.size(); ++e) {
      const auto above = std::upper_bound(axis.lines.begin(), axis.lines.end(),
                                          e == 0 ? 0 : std::ldexp(1, static_cast<int>(e)));
      axis.from[e] =
          static_cast<std::uint16_t>(std::max<std::ptrdiff_t>(above - axis.lines.begin() - 1, 0));
    }
    axis.stride = cells;
    cells = std::min(cells * std::max<std::size_t>(axis.lines.size(), 1), kMostCells + 1);
  }
  if (cells > kMostCells) {  // no grid: every point is answered by its neighbourhood
    axes_ = {};
    return;
  }
  rows_.assign(cells, -1);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto values = rows[r].axes();
    std::size_t at = 0;
    bool on_lines = true;
    for (std::size_t a = 0; a < kAxes && on_lines; ++a) {
      const auto& lines = axes_[a].lines;
      const auto found = std::lower_bound(lines.begin(), lines.end(), values[a]);
      on_lines = found != lines.end() && *found == values[a];
      at += axes_[a].stride * static_cast<std::size_t>(found - lines.begin());
    }
    if (on_lines) rows_[at] = static_cast<std::int32_t>(r);
  }
}

Unmeasured PartGrid::unmeasured(const Sizes& sizes) const {
  const auto axes = sizes.axes();
  Unmeasured out{};
  for (std::size_t a = 0; a < kAxes; ++a)
    out[a] = !std::binary_search(values_[a].begin(), values_[a].end(), axes[a]);
  return out;
}

bool PartGrid::cell(const Sizes& sizes, Cell& out) const {
  const auto values = sizes.axes();
  std::size_t lowest = 0;  // place of the corner of all lower lines, and what the others have more
  std::array<std::size_t, kMostCorners> more;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  more[0] = 0;
  out.weight[0] = 1;
  std::size_t corners = 1;
  std::size_t betweens = 0;
  for (std::size_t a = 0; a < kAxes; ++a) {
    const auto& axis = axes_[a];
    const double v = values[a];
    const double* lines = axis.lines.data();
    const std::size_t size = axis.lines.size();
    if (size == 0 || !(v >= lines[0]) || !(v <= lines[size - 1])) return false;
    std::size_t i = axis.from[exponent_of(v)];  // then on to the last line not above v
    while (i + 1 < size && lines[i + 1] <= v) ++i;
    lowest += axis.stride * i;
    out.off_line[a] = lines[i] != v;
    if (!out.off_line[a]) continue;
    const double t = (log_of(a, v) - axis.intervals[i].log) * axis.intervals[i].per_octave;
    out.between[betweens++] = {.axis = a, .interval = i, .bend = 4 * t * (1 - t)};
    for (std::size_t c = 0; c < corners; ++c) {
      more[corners + c] = more[c] + axis.stride;
      out.weight[corners + c] = out.weight[c] * t;
      out.weight[c] *= 1 - t;
    }
    corners *= 2;
  }
  for (std::size_t c = 0; c < corners; ++c) {
    const auto row = rows_[lowest + more[c]];
    if (row < 0) return false;
    out.row[c] = static_cast<std::uint32_t>(row);
  }
  out.corners = corners;
  out.betweens = betweens;
  return true;
}

}  // namespace dsaperf::predict::stages
