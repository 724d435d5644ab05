#include "dsaperf/report/sweep.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/wrapped.hpp"
#include "dsaperf/serving/launch_command.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;
using nlohmann::ordered_json;
using serving::Candidate;
using serving::kGibi;

ordered_json limit_json(double limit) {
  return std::isfinite(limit) ? ordered_json(limit) : ordered_json(nullptr);
}

ordered_json candidate_json(const Candidate& c, const serving::SweepResult& result) {
  const auto& l = c.layout;
  ordered_json document = {
      {"backend", serving::name(c.engine)},
      {"version", c.version},
      {"layout", l.text()},
      {"tp", l.tp},
      {"pp", l.pp},
      {"dp", l.dp},
      {"moe_tp", l.moe_tp},
      {"ep", l.moe_ep},
      {"cp", l.cp},
      {"gpus", c.gpus()},
      {"mode", c.prefill ? "disagg" : "agg"},
      {"workers", c.workers},
      {"batch_per_rank", c.batch},
      {"chunk_tokens", c.chunk},
      {"concurrency", c.form.concurrency},
      {"ttft_ms", c.form.ttft_ms},
      {"tpot_ms", c.form.tpot_ms},
      {"request_ms", c.form.request_ms},
      {"requests_s", c.form.request_s},
      {"output_tok_s", c.form.output_tok_s},
      {"output_tok_s_per_gpu", c.tok_s_per_gpu()},
      {"output_tok_s_per_cluster_gpu", c.tok_s_per_cluster_gpu(result.inputs.gpus)},
      {"output_tok_s_per_user", c.tok_s_per_user()},
      {"memory_gib", c.form.memory.total() / kGibi},
      {"kv", c.formats.kv}};
  if (c.prefill)
    document["prefill"] = {{"layout", c.prefill->layout.text()},
                           {"workers", c.prefill->workers},
                           {"decode_workers", c.prefill->decode_workers},
                           {"busy", c.prefill->busy},
                           {"batch_per_rank", c.prefill->batch},
                           {"memory_gib", c.prefill->memory.total() / kGibi}};
  if (c.simulation) {
    const auto percentiles = [](const serving::Percentiles& p) {
      return ordered_json{{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"mean", p.mean}};
    };
    document["simulation"] = {{"ttft_ms", percentiles(c.simulation->ttft_ms)},
                              {"tpot_ms", percentiles(c.simulation->tpot_ms)},
                              {"requests_s", c.simulation->requests_s}};
  }
  if (!c.binds.empty()) {
    document["binds"] = c.binds;
    document["launch"] = serving::launch_command(c, result.model);
  }
  return document;
}

std::string layout_text(const Candidate& c) {
  if (!c.prefill) return c.layout.text();
  return fmt::format("{} x {} > {} x {}", c.prefill->workers, c.prefill->layout.text(),
                     c.prefill->decode_workers, c.layout.text());
}

std::string indented_launch(const serving::SweepResult& result, const TextStyle& style) {
  constexpr int kIndent = 2;
  auto text = wrapped(serving::launch_command(result.candidates.front(), result.model),
                      style.width - kIndent, {.separator = " \\", .indent = "    "});
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    text.insert(at + 1, "  ");
  return text;
}

std::string number(double value) {
  return format_double(serving::three_decimals(value));
}

// A row of aiconfigurator's table: its columns and what stands there.
using Row = std::vector<std::pair<std::string, std::string>>;

Row workload_columns(const serving::SweepResult& result, const serving::ClosedForm& form) {
  const auto& in = result.inputs;
  return {{"model", result.model},
          {"isl", number(in.isl)},
          {"osl", number(in.osl)},
          {"prefix", number(in.prefix)},
          {"concurrency", number(form.concurrency)},
          {"request_rate", number(form.request_s)}};
}

Row rate_columns(const Candidate& c) {
  return {{"seq/s", number(c.form.request_s)},
          {"seq/s/gpu", number(c.form.request_s / c.gpus())},
          {"tokens/s", number(c.form.output_tok_s)},
          {"tokens/s/gpu", number(c.tok_s_per_gpu())},
          {"tokens/s/user", number(c.tok_s_per_user())}};
}

// `kind` stands before the columns: "(p)", "(d)" or nothing.
Row worker_columns(const std::string& kind, const serving::Layout& l, const serving::Formats& f,
                   const serving::MemoryUse& memory) {
  return {{kind + "tp", std::to_string(l.tp)},
          {kind + "pp", std::to_string(l.pp)},
          {kind + "dp", std::to_string(l.dp)},
          {kind + "moe_tp", std::to_string(l.moe_tp)},
          {kind + "moe_ep", std::to_string(l.moe_ep)},
          {kind + "cp", std::to_string(l.cp)},
          {kind + "parallel", l.text()},
          {kind + "gemm", f.gemm},
          {kind + "kvcache", f.kv},
          {kind + "fmha", f.fmha},
          {kind + "moe", f.moe},
          {kind + "comm", "half"},
          {kind + "memory", number(memory.total() / kGibi)}};
}

Row source_columns(const std::string& kind, const Candidate& c,
                   const serving::SweepResult& result) {
  return {{kind + "backend", std::string(serving::name(c.engine))},
          {kind + "version", c.version},
          {kind + "system", result.system}};
}

Row joined(std::initializer_list<Row> parts) {
  Row row;
  for (const Row& part : parts) row.insert(row.end(), part.begin(), part.end());
  return row;
}

Row aggregated_row(const Candidate& c, const serving::SweepResult& result) {
  const auto& f = c.form;
  return joined({workload_columns(result, f),
                 {{"bs", number(c.batch)},
                  {"global_bs", number(c.batch * c.layout.dp)},
                  {"ttft", number(f.ttft_ms)},
                  {"tpot", number(f.tpot_ms)},
                  {"request_latency", number(f.request_ms)}},
                 rate_columns(c),
                 {{"num_total_gpus", std::to_string(c.gpus())}},
                 worker_columns("", c.layout, c.formats, f.memory),
                 {{"ctx_tokens", number(c.chunk)}},
                 source_columns("", c, result),
                 {{"tokens/s/gpu_cluster", number(c.tok_s_per_cluster_gpu(result.inputs.gpus))}}});
}

Row disaggregated_row(const Candidate& c, const serving::SweepResult& result) {
  const auto& f = c.form;
  const auto& p = *c.prefill;
  serving::Formats prefill = c.formats;
  prefill.fmha = p.attention_rows;
  serving::Formats decode = c.formats;
  decode.fmha = decode.kv;  // so the package writes it
  return joined({workload_columns(result, f),
                 {{"(p)bs", number(p.batch)},
                  {"(p)global_bs", number(p.batch * p.layout.dp)},
                  {"(p)workers", std::to_string(p.workers)},
                  {"(d)bs", number(c.batch)},
                  {"(d)global_bs", number(c.batch * c.layout.dp)},
                  {"(d)workers", std::to_string(p.decode_workers)},
                  {"ttft", number(f.ttft_ms)},
                  {"tpot", number(f.tpot_ms)},
                  {"request_latency", number(f.request_ms)}},
                 rate_columns(c),
                 {{"(p)seq/s/worker", number(p.requests_s)},
                  {"(d)seq/s/worker", number(p.decode_requests_s)},
                  {"num_total_gpus", std::to_string(c.gpus())}},
                 worker_columns("(p)", p.layout, prefill, p.memory),
                 source_columns("(p)", c, result),
                 worker_columns("(d)", c.layout, decode, f.memory),
                 source_columns("(d)", c, result),
                 {{"tokens/s/gpu_cluster", number(c.tok_s_per_cluster_gpu(result.inputs.gpus))}}});
}

}  // namespace

std::string text(const serving::SweepResult& result, int top, const TextStyle& style) {
  const auto& in = result.inputs;
  std::string out = fmt::format(
      "{} on {} x {}: {:.0f} in, {:.0f} out; {} operating points\n"
      "requests at a time, times in ms, output tokens/s a GPU\n\n",
      result.model, in.gpus, result.system, in.isl, in.osl, result.points);
  TextTable table({{.title = "backend"},
                   {.title = "layout"},
                   {.title = "reqs", .align = Align::kRight},
                   {.title = "TTFT", .align = Align::kRight},
                   {.title = "p99", .align = Align::kRight},
                   {.title = "TPOT", .align = Align::kRight},
                   {.title = "p99", .align = Align::kRight},
                   {.title = "tok/s", .align = Align::kRight},
                   {.title = "binds"}});
  int shown = 0;
  for (const auto& c : result.candidates) {
    if (shown++ == top) break;
    table.add_row({std::string(serving::name(c.engine)), layout_text(c),
                   fmt::format("{:.0f}", c.form.concurrency * c.workers),
                   fmt::format("{:.0f}", c.form.ttft_ms),
                   c.simulation ? fmt::format("{:.0f}", c.simulation->ttft_ms.p99) : "",
                   fmt::format("{:.1f}", c.form.tpot_ms),
                   c.simulation ? fmt::format("{:.1f}", c.simulation->tpot_ms.p99) : "",
                   fmt::format("{:.1f}", c.tok_s_per_cluster_gpu(in.gpus)), c.binds});
  }
  if (result.candidates.empty()) out += "No layout is left.\n";
  if (!table.empty()) out += table.str(style);
  if (!result.candidates.empty())
    out += fmt::format("\nStart the first:\n  {}\n", indented_launch(result, style));
  if (!result.rejected.empty()) {
    TextTable rejected({{.title = "rejected"}, {.title = "why"}});
    shown = 0;
    for (const auto& r : result.rejected) {
      if (shown++ == top) break;
      rejected.add_row({fmt::format("{} {}", serving::name(r.engine), r.layout), r.reason});
    }
    out += "\n" + rejected.str(style);
    if (static_cast<int>(result.rejected.size()) > top)
      out += fmt::format("... and {} more (--top, --json)\n",
                         static_cast<int>(result.rejected.size()) - top);
  }
  return out;
}

ordered_json json(const serving::SweepResult& result) {
  const auto& in = result.inputs;
  auto candidates = ordered_json::array();
  for (const auto& c : result.candidates) candidates.push_back(candidate_json(c, result));
  auto pareto = ordered_json::array();
  for (const auto& c : result.pareto) pareto.push_back(candidate_json(c, result));
  auto rejected = ordered_json::array();
  for (const auto& r : result.rejected)
    rejected.push_back(
        {{"backend", serving::name(r.engine)}, {"layout", r.layout}, {"reason", r.reason}});
  return {{"format", "dsaperf.sweep.1"},
          {"model", result.model},
          {"system", result.system},
          {"method", in.method == serving::Method::kCompatible ? "compatible" : "model"},
          {"gpus", in.gpus},
          {"isl", in.isl},
          {"osl", in.osl},
          {"prefix", in.prefix},
          {"ttft_limit_ms", limit_json(in.ttft_limit_ms)},
          {"tpot_limit_ms", limit_json(in.tpot_limit_ms)},
          {"points", result.points},
          {"candidates", candidates},
          {"pareto", pareto},
          {"rejected", rejected},
          {"warnings", result.warnings}};
}

std::string csv(const serving::SweepResult& result) {
  const bool together = result.inputs.aggregated;
  const auto row = [&](const Candidate& c) {
    return together ? aggregated_row(c, result) : disaggregated_row(c, result);
  };
  CsvWriter out;
  Candidate none;
  none.prefill.emplace();
  for (const auto& [column, value] : row(none)) out.field(column);
  out.end_row();
  for (const auto& c : together ? result.aggregated_pareto : result.disaggregated_pareto) {
    for (const auto& [column, value] : row(c)) out.field(value);
    out.end_row();
  }
  return out.text();
}

}  // namespace dsaperf::report
