#include "dsaperf/predict/stages/part_grid.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace dsaperf::predict::stages {
namespace {

constexpr std::size_t kMostCells = 1U << 21U;
constexpr double kLineShare = 0.25;  // of the rows that the commonest value of the axis has

std::array<double, PartGrid::kAxes> values_of(const Sizes& z) {
  return {z.heads, z.batch, z.new_tokens, z.past_tokens};
}

// Past counts from 0.
double log_of(std::size_t axis, double value) {
  return std::log2(axis == 3 ? value + 1 : value);
}

}  // namespace

PartGrid::PartGrid(std::span<const Sizes> rows) {
  std::size_t cells = 1;
  for (std::size_t a = 0; a < kAxes; ++a) {
    std::map<double, std::size_t> counts;
    for (const auto& row : rows) ++counts[values_of(row)[a]];
    std::size_t most = 0;
    for (const auto& [value, count] : counts) most = std::max(most, count);
    for (const auto& [value, count] : counts) {
      if (static_cast<double>(count) < kLineShare * static_cast<double>(most)) continue;
      lines_[a].push_back(value);
      logs_[a].push_back(log_of(a, value));
    }
    stride_[a] = cells;
    cells *= std::max<std::size_t>(lines_[a].size(), 1);
    if (cells > kMostCells) {  // no grid: every point is answered by its neighbourhood
      for (auto& lines : lines_) lines.clear();
      return;
    }
  }
  rows_.assign(cells, -1);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto values = values_of(rows[r]);
    std::size_t at = 0;
    bool on_lines = true;
    for (std::size_t a = 0; a < kAxes && on_lines; ++a) {
      const auto found = std::lower_bound(lines_[a].begin(), lines_[a].end(), values[a]);
      on_lines = found != lines_[a].end() && *found == values[a];
      at += stride_[a] * static_cast<std::size_t>(found - lines_[a].begin());
    }
    if (on_lines) rows_[at] = static_cast<std::int32_t>(r);
  }
}

bool PartGrid::cell(const Sizes& sizes, Cell& out) const {
  const auto values = values_of(sizes);
  std::size_t base = 0;
  std::array<double, kAxes> t{};
  for (std::size_t a = 0; a < kAxes; ++a) {
    const auto& lines = lines_[a];
    const double v = values[a];
    if (lines.empty() || !(v >= lines.front()) || !(v <= lines.back())) return false;
    std::size_t i = 0;
    for (std::size_t step = lines.size(); step > 1;) {  // the last line not above v
      const std::size_t half = step / 2;
      i += lines[i + half] <= v ? half : 0;
      step -= half;
    }
    out.on_line[a] = lines[i] == v;
    out.interval[a] = static_cast<std::uint16_t>(i);
    base += stride_[a] * i;
    if (out.on_line[a]) {
      out.bend[a] = 0;
      continue;
    }
    t[a] = (log_of(a, v) - logs_[a][i]) / (logs_[a][i + 1] - logs_[a][i]);
    out.bend[a] = 4 * t[a] * (1 - t[a]);
  }
  out.corners = 1;
  std::array<std::size_t, kMostCorners> at{};
  at[0] = base;
  out.weight[0] = 1;
  for (std::size_t a = 0; a < kAxes; ++a) {
    if (out.on_line[a]) continue;
    for (std::size_t c = 0; c < out.corners; ++c) {
      at[out.corners + c] = at[c] + stride_[a];
      out.weight[out.corners + c] = out.weight[c] * t[a];
      out.weight[c] *= 1 - t[a];
    }
    out.corners *= 2;
  }
  for (std::size_t c = 0; c < out.corners; ++c) {
    const auto row = rows_[at[c]];
    if (row < 0) return false;
    out.row[c] = static_cast<std::uint32_t>(row);
  }
  return true;
}

}  // namespace dsaperf::predict::stages
