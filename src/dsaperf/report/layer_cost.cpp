#include "dsaperf/report/layer_cost.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/wrapped.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;

// Three digits and a unit: "12.3 G".
std::string scaled(double value) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f}{}", value,
                     value >= 99.95 || unit == 0 ? 0
                     : value >= 9.995            ? 1
                                                 : 2,
                     kUnits[unit]);
}

std::string binding_text(const cost::Bound& bound) {
  return bound.math_known ? std::string(cost::name(bound.binds()))
                          : "memory (its rate is not known)";
}

std::string micros(Micros time) {
  return fmt::format("{:.2f}", time.value);
}

}  // namespace

std::string text(const LayerCostReport& report, const TextStyle& style) {
  const Micros total = cost::bound(report.cost, report.system);
  std::string out = wrapped(
      fmt::format("{} on {}\n{}\n\n", report.model, report.system.name, report.title), style.width);
  TextTable table({{.title = "stage"},
                   {.title = "FLOP", .align = Align::kRight},
                   {.title = "bytes", .align = Align::kRight},
                   {.title = "launches", .align = Align::kRight},
                   {.title = "bound us", .align = Align::kRight},
                   {.title = "binds"},
                   {.title = "share"}});
  for (const auto& stage : report.cost.stages()) {
    const auto bound = cost::bound(stage, report.system);
    table.add_row({std::string(model::name(stage.stage)), scaled(stage.total_flops().value),
                   scaled(stage.traffic.total()), std::to_string(stage.launches),
                   micros(bound.time()), binding_text(bound), share_bar(bound.time() / total, 10)});
  }
  table.add_rule();
  table.add_row({"bound of the layer", scaled(report.cost.total_flops().value),
                 scaled(report.cost.total_bytes()), std::to_string(report.cost.launches()),
                 micros(total)});
  out += table.str(style);
  if (report.measured.empty()) return out;

  out += fmt::format(
      "\nThe same layer in {} tables:\n\n",
      report.measured.front().backend == perfdb::kOwnBackend ? "our own" : "AIConfigurator's");
  TextTable measured({{.title = "tables"},
                      {.title = "cache"},
                      {.title = "GEMMs"},
                      {.title = "us", .align = Align::kRight},
                      {.title = "of the bound", .align = Align::kRight},
                      {.title = "source"}});
  for (const auto& row : report.measured)
    measured.add_row({row.backend + " " + row.version, row.kv_dtype, row.gemm_dtype,
                      fmt::format("{:.1f}", row.time.value),
                      fmt::format("{:.1f} x", row.time / total), row.source});
  return out + measured.str(style);
}

nlohmann::ordered_json json(const LayerCostReport& report) {
  auto stages = nlohmann::ordered_json::array();
  for (const auto& stage : report.cost.stages()) {
    const auto bound = cost::bound(stage, report.system);
    nlohmann::ordered_json flops;
    for (int i = 0; i < cost::kMathFormatCount; ++i)
      if (const double value = stage.flops[static_cast<std::size_t>(i)]; value > 0)
        flops[std::string(cost::name(static_cast<cost::MathFormat>(i)))] = value;
    stages.push_back({{"name", model::name(stage.stage)},
                      {"flops", stage.total_flops().value},
                      {"flops_by_format", flops},
                      {"bytes", stage.traffic.total()},
                      {"weight_bytes", stage.traffic.weights},
                      {"activation_bytes", stage.traffic.activations},
                      {"kv_cache_bytes", stage.traffic.kv_cache},
                      {"index_cache_bytes", stage.traffic.index_cache},
                      {"score_bytes", stage.traffic.scores},
                      {"gathered_bytes", stage.gathered_bytes},
                      {"launches", stage.launches},
                      {"math_us", bound.math_known ? nlohmann::ordered_json(bound.math.value)
                                                   : nlohmann::ordered_json(nullptr)},
                      {"memory_us", bound.memory.value},
                      {"bound_us", bound.time().value},
                      {"binds", cost::name(bound.binds())}});
  }
  auto measured = nlohmann::ordered_json::array();
  for (const auto& row : report.measured)
    measured.push_back({{"backend", row.backend},
                        {"version", row.version},
                        {"kv_cache_dtype", row.kv_dtype},
                        {"gemm_dtype", row.gemm_dtype},
                        {"latency_us", row.time.value},
                        {"source", row.source}});
  auto requests = nlohmann::ordered_json::array();
  for (const auto& group : report.shape.requests)
    requests.push_back({{"count", group.count},
                        {"new_tokens", group.new_tokens},
                        {"past_tokens", group.past_tokens}});
  auto peaks = nlohmann::ordered_json::object();
  for (int i = 0; i < cost::kMathFormatCount; ++i) {
    const auto format = static_cast<cost::MathFormat>(i);
    if (const auto peak = report.system.peak(format))
      peaks[std::string(cost::name(format))] = *peak;
  }
  return {{"format", "dsaperf.query.1"},
          {"model", report.model},
          {"system", report.system.name},
          {"peak_flop_per_s", peaks},
          {"peak_bytes_per_s", report.system.hbm_bytes_per_s},
          {"heads", report.shape.heads},
          {"kv_cache_dtype", perfdb::table_dtype(model::name(report.shape.kv))},
          {"requests", requests},
          {"flops", report.cost.total_flops().value},
          {"bytes", report.cost.total_bytes()},
          {"launches", report.cost.launches()},
          {"bound_us", cost::bound(report.cost, report.system).value},
          {"stages", stages},
          {"measured", measured},
          {"warnings", report.warnings}};
}

}  // namespace dsaperf::report
