#include "dsaperf/report/leave_out.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <nlohmann/json.hpp>

namespace dsaperf::report {

std::string text(const std::vector<predict::LeaveOutSummary>& rows, const TextStyle& style) {
  using Align = TextTable::Align;
  TextTable table({{.title = "table"},
                   {.title = "left out"},
                   {.title = "method"},
                   {.title = "n", .align = Align::kRight},
                   {.title = "median %", .align = Align::kRight},
                   {.title = "p90 %", .align = Align::kRight},
                   {.title = "in 90 %", .align = Align::kRight}});
  for (const auto& row : rows) {
    table.add_row({row.table, std::string(predict::name(row.left_out)),
                   std::string(predict::name(row.method)), std::to_string(row.n),
                   fmt::format("{:.2f}", row.median_pct), fmt::format("{:.1f}", row.p90_pct),
                   row.coverage90_pct ? fmt::format("{:.0f}", *row.coverage90_pct) : ""});
  }
  return table.str(style);
}

nlohmann::ordered_json json(const std::vector<predict::LeaveOutSummary>& rows) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    list.push_back(
        {{"table", row.table},
         {"method", predict::name(row.method)},
         {"left_out", predict::name(row.left_out)},
         {"n", row.n},
         {"median_pct", row.median_pct},
         {"p90_pct", row.p90_pct},
         {"coverage90_pct", row.coverage90_pct ? nlohmann::ordered_json(*row.coverage90_pct)
                                               : nlohmann::ordered_json(nullptr)}});
  }
  return {{"format", "dsaperf.db_loo.1"},
          {"rows", std::move(list)},
          {"warnings", nlohmann::ordered_json::array()}};
}

std::string csv(const predict::TableName& table, predict::Method method, predict::LeftOut left_out,
                const std::vector<predict::LeftOutPoint>& points, bool with_header) {
  CsvWriter out;
  if (with_header) {
    for (const char* name :
         {"system",      "backend",     "version",      "phase",        "method",
          "left_out",    "axis",        "population",   "architecture", "kv_cache_dtype",
          "gemm_dtype",  "regime",      "heads",        "batch",        "new_tokens",
          "past_tokens", "measured_ms", "predicted_ms", "low_ms",       "high_ms"}) {
      out.field(name);
    }
    out.end_row();
  }
  for (const auto& p : points) {
    out.field(table.system)
        .field(table.backend)
        .field(table.version)
        .field(perfdb::name(table.phase));
    out.field(predict::name(method))
        .field(predict::name(left_out))
        .field(p.axis)
        .field(p.population);
    out.field(p.kind.architecture).field(p.kind.kv_dtype).field(p.kind.gemm_dtype).field(p.regime);
    out.field(p.shape.heads)
        .field(p.shape.batch)
        .field(p.shape.new_tokens)
        .field(p.shape.past_tokens);
    out.field(p.measured_ms).field(p.predicted_ms);
    p.low_ms ? out.field(*p.low_ms) : out.field("");
    p.high_ms ? out.field(*p.high_ms) : out.field("");
    out.end_row();
  }
  return out.text();
}

}  // namespace dsaperf::report
