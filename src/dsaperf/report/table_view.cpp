#include "dsaperf/report/table_view.hpp"

#include "dsaperf/core/wrapped.hpp"
#include "dsaperf/report/slice_text.hpp"
#include "dsaperf/report/text_plot.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace dsaperf::report {
namespace {

using nlohmann::ordered_json;
using perfdb::DsaRow;
using perfdb::DsaSlice;
using perfdb::DsaTable;

constexpr std::array kSizes = {RowSize::kHeads, RowSize::kBatch, RowSize::kNewTokens,
                               RowSize::kPastTokens};

std::int32_t size_of(const DsaRow& row, RowSize size) {
  switch (size) {
    case RowSize::kHeads:
      return row.heads;
    case RowSize::kBatch:
      return row.batch;
    case RowSize::kNewTokens:
      return row.new_tokens;
    case RowSize::kPastTokens:
      return row.past_tokens;
  }
  return 0;
}

const char* title(RowSize size) {
  constexpr const char* kTitles[] = {"heads", "batch", "new", "past"};
  return kTitles[static_cast<int>(size)];
}

const char* label(RowSize size) {
  constexpr const char* kLabels[] = {"heads", "requests", "new tokens", "cached tokens"};
  return kLabels[static_cast<int>(size)];
}

const DsaSlice& slice_of(const DsaTable& table, const DsaRow& row) {
  return table.slices[static_cast<std::size_t>(row.slice)];
}

bool holds(const std::vector<std::int32_t>& wanted, std::int32_t value) {
  return wanted.empty() || std::ranges::find(wanted, value) != wanted.end();
}

bool passes(const DsaTable& table, const DsaRow& row, const RowFilter& filter) {
  const auto& slice = slice_of(table, row);
  const bool model = slice.model.find(filter.model) != std::string::npos ||
                     slice.architecture.find(filter.model) != std::string::npos;
  return model && (filter.kv_dtype.empty() || slice.kv_dtype == filter.kv_dtype) &&
         (filter.gemm_dtype.empty() || slice.gemm_dtype == filter.gemm_dtype) &&
         holds(filter.heads, row.heads) && holds(filter.batch, row.batch) &&
         holds(filter.new_tokens, row.new_tokens) && holds(filter.past_tokens, row.past_tokens);
}

// "8 16 64" of few values, "1 ... 131071 (18)" of many.
std::string values_text(const std::set<std::int32_t>& values) {
  constexpr std::size_t kFew = 4;
  if (values.size() > kFew) {
    return fmt::format("{} ... {} ({})", *values.begin(), *values.rbegin(), values.size());
  }
  std::string text;
  for (const auto value : values) text += fmt::format("{}{}", text.empty() ? "" : " ", value);
  return text;
}

std::string slices_text(const DsaTable& table, const std::vector<std::size_t>& rows,
                        const TextStyle& style) {
  struct Held {
    std::size_t rows = 0;
    std::array<std::set<std::int32_t>, kSizes.size()> values;
  };
  std::map<std::int32_t, Held> held;
  for (const auto i : rows) {
    auto& slice = held[table.rows[i].slice];
    ++slice.rows;
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      slice.values[k].insert(size_of(table.rows[i], kSizes[k]));
    }
  }
  TextTable text({{"slice"},
                  {"kernel"},
                  {"rows", TextTable::Align::kRight},
                  {"heads"},
                  {"batch"},
                  {"new"},
                  {"past"}});
  for (const auto& [index, slice] : held) {
    const auto& of = table.slices[static_cast<std::size_t>(index)];
    std::vector<TextTable::Cell> cells = {slice_text(of), of.kernel_source,
                                          fmt::format("{}", slice.rows)};
    for (const auto& values : slice.values) cells.emplace_back(values_text(values));
    text.add_row(std::move(cells));
  }
  return text.str(style);
}

// Rows that differ in `x` alone: where the slice and the other sizes are the same.
std::vector<PlotSeries> lines_of(const DsaTable& table, const std::vector<std::size_t>& rows,
                                 RowSize x) {
  std::map<std::array<std::int32_t, 1 + kSizes.size()>, std::map<std::int32_t, double>> lines;
  std::array<std::set<std::int32_t>, 1 + kSizes.size()> values;
  for (const auto i : rows) {
    const auto& row = table.rows[i];
    std::array<std::int32_t, 1 + kSizes.size()> key{row.slice};
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      if (kSizes[k] != x) key[k + 1] = size_of(row, kSizes[k]);
    }
    for (std::size_t k = 0; k < key.size(); ++k) values[k].insert(key[k]);
    lines[key][size_of(row, x)] = row.latency.millis();
  }
  std::vector<PlotSeries> series;
  for (const auto& [key, points] : lines) {
    PlotSeries& one = series.emplace_back();
    if (values[0].size() > 1) {
      one.name = slice_text(table.slices[static_cast<std::size_t>(key[0])]) + ' ';
    }
    for (std::size_t k = 0; k < kSizes.size(); ++k) {
      if (kSizes[k] != x) one.name += fmt::format("{} {} ", title(kSizes[k]), key[k + 1]);
    }
    one.name.pop_back();
    for (const auto& [size, latency_ms] : points) {
      one.x.push_back(size);
      one.y.push_back(latency_ms);
    }
  }
  return series;
}

std::string plot_text(const DsaTable& table, const std::vector<std::size_t>& rows,
                      const TableViewOptions& options, const TextStyle& style) {
  auto series = lines_of(table, rows, options.x);
  const auto total = series.size();
  std::ranges::stable_sort(
      series, [](const PlotSeries& a, const PlotSeries& b) { return a.x.size() > b.x.size(); });
  series.resize(std::min(series.size(), options.lines));
  auto text = text_plot(
      series, {.x_label = label(options.x), .y_label = "latency, ms", .width = style.width});
  if (total > series.size()) {
    text += wrapped(fmt::format("{} of {} lines are drawn, those with most points: --heads, "
                                "--batch, --new, --past, --kv "
                                "and --gemm choose\n",
                                series.size(), total),
                    style.width);
  }
  return text;
}

std::string rows_text(const DsaTable& table, const std::vector<std::size_t>& rows,
                      std::size_t at_most, const TextStyle& style) {
  TextTable text({{"slice"},
                  {"heads", TextTable::Align::kRight},
                  {"batch", TextTable::Align::kRight},
                  {"new", TextTable::Align::kRight},
                  {"past", TextTable::Align::kRight},
                  {"ms", TextTable::Align::kRight}});
  for (std::size_t k = 0; k < std::min(at_most, rows.size()); ++k) {
    const auto& row = table.rows[rows[k]];
    text.add_row({slice_text(slice_of(table, row)), fmt::format("{}", row.heads),
                  fmt::format("{}", row.batch), fmt::format("{}", row.new_tokens),
                  fmt::format("{}", row.past_tokens), fmt::format("{:.4f}", row.latency.millis())});
  }
  return text.empty() ? "" : '\n' + text.str(style);
}

}  // namespace

std::vector<std::size_t> selected_rows(const DsaTable& table, const RowFilter& filter) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (passes(table, table.rows[i], filter)) rows.push_back(i);
  }
  return rows;
}

std::string text(const DsaTable& table, const std::string& name, const TableViewOptions& options,
                 const TextStyle& style) {
  const auto rows = selected_rows(table, options.filter);
  auto text = fmt::format("{}, {}: {} of {} rows\n", name, perfdb::name(table.phase), rows.size(),
                          table.rows.size());
  if (rows.empty()) {
    if (table.rows.empty()) return text + '\n';
    return text + "none is as asked for; the table holds\n\n" +
           slices_text(table, selected_rows(table, {}), style) + '\n';
  }
  text += '\n' + slices_text(table, rows, style) + '\n';
  text += plot_text(table, rows, options, style);
  return text + rows_text(table, rows, options.rows, style) + '\n';
}

ordered_json json(const DsaTable& table, const std::string& name, const TableViewOptions& options) {
  ordered_json rows = ordered_json::array();
  for (const auto i : selected_rows(table, options.filter)) {
    const auto& row = table.rows[i];
    const auto& slice = slice_of(table, row);
    rows.push_back({{"model", slice.model},
                    {"architecture", slice.architecture},
                    {"kv_dtype", slice.kv_dtype},
                    {"gemm_dtype", slice.gemm_dtype},
                    {"shares_selection", slice.shares_selection},
                    {"kernel_source", slice.kernel_source},
                    {"heads", row.heads},
                    {"batch", row.batch},
                    {"new_tokens", row.new_tokens},
                    {"past_tokens", row.past_tokens},
                    {"latency_ms", row.latency.millis()}});
  }
  return {{"place", name},
          {"phase", perfdb::name(table.phase)},
          {"table_rows", table.rows.size()},
          {"rows", std::move(rows)}};
}

}  // namespace dsaperf::report
