#include "dsaperf/report/query.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/wrapped.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace dsaperf::report {
namespace {

std::string shape_text(const predict::LayerShape& shape,
                       const std::vector<predict::RequestGroup>& requests = {}) {
  if (!requests.empty()) {
    auto text = fmt::format("{} heads", shape.heads);
    for (const auto& group : requests) {
      text +=
          fmt::format(", {} x {} new after {}", group.count, group.new_tokens, group.past_tokens);
    }
    return text;
  }
  auto text = fmt::format("{} heads, batch {}, {} new after {} cached", shape.heads, shape.batch,
                          shape.new_tokens, shape.past_tokens);
  if (shape.full_layer_share < 1) {
    text +=
        fmt::format(", {:.1f} % of layers with their own indexer", 100 * shape.full_layer_share);
  }
  if (shape.context_parallel > 1)
    text += fmt::format(", context parallel {}", shape.context_parallel);
  return text;
}

nlohmann::ordered_json optional_ms(const std::optional<Micros>& time) {
  return time ? nlohmann::ordered_json(time->millis()) : nlohmann::ordered_json(nullptr);
}

std::string explanation_text(const predict::stages::Explanation& e, Micros answer,
                             const TextStyle& style) {
  using Align = TextTable::Align;
  constexpr int kBar = 20;
  TextTable stages({{.title = "stage"},
                    {.title = "ms", .align = Align::kRight},
                    {.title = "bound", .align = Align::kRight},
                    {.title = "binds"},
                    {.title = "share", .align = Align::kRight},
                    {.title = ""}});
  for (const auto& share : e.stages) {
    const double part = share.time / answer;
    stages.add_row({share.stage, fmt::format("{:.4f}", share.time.millis()),
                    share.bound.value > 0 ? fmt::format("{:.4f}", share.bound.millis()) : "",
                    share.binds, fmt::format("{:.0f} %", 100 * part), share_bar(part, kBar)});
  }
  TextTable nearest({{.title = "nearest rows"},
                     {.title = "ms", .align = Align::kRight},
                     {.title = "distance", .align = Align::kRight}});
  for (const auto& row : e.nearest) {
    nearest.add_row({shape_text(row.shape), fmt::format("{:.4f}", row.measured.millis()),
                     fmt::format("{:.2f}", row.distance)});
  }
  const auto rows =
      fmt::format("rows of {}, {} regime, kernel {}\n", e.version, e.regime, e.kernel_source);
  auto text = fmt::format("\n{}\n{}\n{}the stages alone say {:.4f} ms\n", stages.str(style),
                          nearest.str(style), wrapped(rows, style.width), e.stage_model.millis());
  if (e.host_time.value > 0) {
    text += fmt::format("launched kernel by kernel: the host takes {:.3f} ms at least\n",
                        e.host_time.millis());
  }
  return text;
}

nlohmann::ordered_json explanation_json(const predict::stages::Explanation& e) {
  auto stages = nlohmann::ordered_json::array();
  for (const auto& share : e.stages)
    stages.push_back({{"name", share.stage},
                      {"time_ms", share.time.millis()},
                      {"bound_ms", share.bound.millis()},
                      {"binds", share.binds}});
  auto nearest = nlohmann::ordered_json::array();
  for (const auto& row : e.nearest) {
    nearest.push_back({{"heads", row.shape.heads},
                       {"batch", row.shape.batch},
                       {"new_tokens", row.shape.new_tokens},
                       {"past_tokens", row.shape.past_tokens},
                       {"measured_ms", row.measured.millis()},
                       {"distance", row.distance}});
  }
  return {{"rows_of_version", e.version},
          {"kernel_source", e.kernel_source},
          {"regime", e.regime},
          {"moved", e.moved},
          {"defects", e.defects},
          {"stage_model_ms", e.stage_model.millis()},
          {"host_floor_ms", e.host_time.millis()},
          {"relative_variance", e.relative_variance},
          {"stages", std::move(stages)},
          {"nearest", std::move(nearest)}};
}

// An axis from 0 to `longest` as text: the interval a line, the answer a dot.
std::string interval_plot(const predict::LayerLatency& latency, double longest_ms,
                          std::size_t width) {
  const auto column = [&](double ms) {
    const auto at =
        static_cast<std::size_t>(std::lround(ms / longest_ms * static_cast<double>(width - 1)));
    return std::min(at, width - 1);
  };
  std::vector<std::string_view> cells(width, " ");
  if (latency.low && latency.high) {
    const auto low = column(latency.low->millis());
    const auto high = column(latency.high->millis());
    for (auto i = low; i <= high; ++i) cells[i] = "─";
    cells[low] = "├";
    cells[high] = "┤";
  }
  cells[column(latency.time.millis())] = "●";
  std::string out;
  for (const auto cell : cells) out += cell;
  return out;
}

// A row a change: the answers and who pays, and below it their intervals on one axis. 80 columns
// hold neither more.
std::string variations_text(const LayerAnswer& answer, const TextStyle& style) {
  using Align = TextTable::Align;
  constexpr std::size_t kPlot = 56;
  const auto end_of = [](const predict::LayerLatency& l) {
    return l.high ? l.high->millis() : l.time.millis();
  };
  double longest = end_of(answer.latency);
  for (const auto& v : answer.variations) {
    if (v.latency) longest = std::max(longest, end_of(*v.latency));
  }
  const double asked = answer.latency.time.millis();
  TextTable numbers({{.title = "what if"},
                     {.title = "ms", .align = Align::kRight},
                     {.title = "90 %", .align = Align::kRight},
                     {.title = "change", .align = Align::kRight},
                     {.title = "who pays, ms"}});
  TextTable plot({{.title = "what if"}, {.title = fmt::format("0 ... {:.3g} ms", longest)}});
  numbers.add_row({"as asked", fmt::format("{:.4f}", asked), "", "", ""});
  plot.add_row({"as asked", interval_plot(answer.latency, longest, kPlot)});
  for (const auto& v : answer.variations) {
    const auto name = v.change.axis + " " + v.change.value;
    if (!v.latency) {
      numbers.add_row({name, "", "", "", v.error});
      continue;
    }
    const double ms = v.latency->time.millis();
    const auto interval =
        v.latency->low && v.latency->high
            ? fmt::format("{:.3f} - {:.3f}", v.latency->low->millis(), v.latency->high->millis())
            : std::string();
    numbers.add_row(
        {name, fmt::format("{:.4f}", ms), interval,
         fmt::format("{:+.1f} %", 100 * (ms / asked - 1)),
         v.payer.empty() ? "" : fmt::format("{} {:+.4f}", v.payer, v.payer_change.millis())});
    plot.add_row({name, interval_plot(*v.latency, longest, kPlot)});
  }
  return "\n" + numbers.str(style) + "\n" + plot.str(style);
}

nlohmann::ordered_json variations_json(const std::vector<predict::Variation>& variations) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& v : variations) {
    nlohmann::ordered_json row = {{"axis", v.change.axis}, {"value", v.change.value}};
    row["latency_ms"] = v.latency ? nlohmann::ordered_json(v.latency->time.millis())
                                  : nlohmann::ordered_json(nullptr);
    row["low_ms"] = v.latency ? optional_ms(v.latency->low) : nlohmann::ordered_json(nullptr);
    row["high_ms"] = v.latency ? optional_ms(v.latency->high) : nlohmann::ordered_json(nullptr);
    row["source"] = v.latency ? nlohmann::ordered_json(predict::name(v.latency->source))
                              : nlohmann::ordered_json(nullptr);
    row["stage"] = v.payer;
    row["stage_change_ms"] = v.payer_change.millis();
    row["error"] = v.error;
    list.push_back(std::move(row));
  }
  return list;
}

}  // namespace

std::string text(const LayerAnswer& answer, const TextStyle& style) {
  std::string out =
      fmt::format("{} {}, {} {}\n", answer.kind.architecture, perfdb::name(answer.shape.phase),
                  answer.tables.backend, answer.tables.version);
  out += fmt::format("{}, cache {}, attention {}, GEMMs {}\n\n", answer.tables.system,
                     answer.kind.kv_dtype, answer.kind.fmha_dtype, answer.kind.gemm_dtype);
  TextTable table({{.title = shape_text(answer.shape, answer.requests)},
                   {.title = "ms", .align = TextTable::Align::kRight},
                   {.title = "source"}});
  table.add_row({answer.requests.empty() ? "one layer" : "one layer, all requests",
                 fmt::format("{:.4f}", answer.latency.time.millis()),
                 std::string(predict::name(answer.latency.source))});
  if (answer.latency.low && answer.latency.high) {
    table.add_row({"90 % interval",
                   fmt::format("{:.4f} - {:.4f}", answer.latency.low->millis(),
                               answer.latency.high->millis()),
                   ""});
  }
  if (answer.peer_bound) {
    table.add_row(
        {"aiconfigurator's bound", fmt::format("{:.4f}", answer.peer_bound->millis()), "bound"});
  }
  out += table.str(style);
  if (answer.explanation) out += explanation_text(*answer.explanation, answer.latency.time, style);
  if (!answer.chunks.empty()) {
    TextTable chunks({{.title = "chunk"}, {.title = "ms", .align = TextTable::Align::kRight}});
    for (const auto& chunk : answer.chunks) {
      chunks.add_row({fmt::format("{} new after {}", chunk.new_tokens, chunk.past_tokens),
                      fmt::format("{:.4f}", chunk.latency.time.millis())});
    }
    out += "\n" + chunks.str(style);
  }
  if (!answer.variations.empty()) out += variations_text(answer, style);
  return out;
}

nlohmann::ordered_json json(const LayerAnswer& answer) {
  const auto& shape = answer.shape;
  nlohmann::ordered_json out = {{"format", "dsaperf.query.1"},
                                {"system", answer.tables.system},
                                {"backend", answer.tables.backend},
                                {"version", answer.tables.version},
                                {"architecture", answer.kind.architecture},
                                {"phase", perfdb::name(shape.phase)},
                                {"kv_cache_dtype", answer.kind.kv_dtype},
                                {"fmha_dtype", answer.kind.fmha_dtype},
                                {"gemm_dtype", answer.kind.gemm_dtype},
                                {"heads", shape.heads},
                                {"batch", shape.batch},
                                {"new_tokens", shape.new_tokens},
                                {"past_tokens", shape.past_tokens},
                                {"full_layer_fraction", shape.full_layer_share},
                                {"context_parallel", shape.context_parallel},
                                {"method", predict::name(answer.method)},
                                {"latency_ms", answer.latency.time.millis()},
                                {"low_ms", optional_ms(answer.latency.low)},
                                {"high_ms", optional_ms(answer.latency.high)},
                                {"source", predict::name(answer.latency.source)},
                                {"peer_bound_ms", optional_ms(answer.peer_bound)},
                                {"warnings", answer.latency.warnings}};
  if (answer.explanation) out["explanation"] = explanation_json(*answer.explanation);
  for (const auto& group : answer.requests) {
    out["requests"].push_back({{"count", group.count},
                               {"new_tokens", group.new_tokens},
                               {"past_tokens", group.past_tokens}});
  }
  for (const auto& chunk : answer.chunks) {
    out["chunks"].push_back({{"new_tokens", chunk.new_tokens},
                             {"past_tokens", chunk.past_tokens},
                             {"latency_ms", chunk.latency.time.millis()},
                             {"source", predict::name(chunk.latency.source)}});
  }
  if (!answer.variations.empty()) out["vary"] = variations_json(answer.variations);
  return out;
}

std::string text(const predict::QueryFileSummary& summary) {
  auto out = fmt::format("{} rows", summary.rows);
  for (const auto& [source, count] : summary.by_source)
    out += fmt::format(", {} {}", count, source);
  if (summary.failed > 0)
    out += fmt::format(", {} without an answer (see predicted_error)", summary.failed);
  return out + "\n";
}

nlohmann::ordered_json json(const predict::QueryFileSummary& summary) {
  return {{"format", "dsaperf.query.1"},
          {"rows", summary.rows},
          {"failed", summary.failed},
          {"by_source", summary.by_source},
          {"warnings", nlohmann::ordered_json::array()}};
}

}  // namespace dsaperf::report
