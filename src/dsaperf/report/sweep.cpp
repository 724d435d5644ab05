#include "dsaperf/report/sweep.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;
using nlohmann::ordered_json;
using serving::Candidate;

constexpr double kGibi = 1 << 30;

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
                           {"busy", c.prefill->busy}};
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

std::string indented_launch(const serving::SweepResult& result) {
  std::string text = serving::launch_command(result.candidates.front(), result.model);
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    text.insert(at + 1, "  ");
  return text;
}

std::string number(double value) {
  return format_double(std::round(value * 1000) / 1000);
}

}  // namespace

std::string text(const serving::SweepResult& result, int top, const TextStyle& style) {
  const auto& in = result.inputs;
  std::string out =
      fmt::format("{} on {} x {}: {:.0f} in, {:.0f} out; {} operating points\n\n", result.model,
                  in.gpus, result.system, in.isl, in.osl, result.points);
  TextTable table({{.title = "backend"},
                   {.title = "layout"},
                   {.title = "at once", .align = Align::kRight},
                   {.title = "TTFT ms", .align = Align::kRight},
                   {.title = "p99", .align = Align::kRight},
                   {.title = "TPOT ms", .align = Align::kRight},
                   {.title = "p99", .align = Align::kRight},
                   {.title = "tok/s GPU", .align = Align::kRight},
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
  out += table.empty() ? std::string("No layout meets the limits.\n") : table.str(style);
  if (!result.candidates.empty())
    out += fmt::format("\nStart the first:\n  {}\n", indented_launch(result));
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
  CsvWriter out;
  for (const char* column : {"model",
                             "isl",
                             "osl",
                             "prefix",
                             "concurrency",
                             "request_rate",
                             "bs",
                             "global_bs",
                             "ttft",
                             "tpot",
                             "request_latency",
                             "seq/s",
                             "seq/s/gpu",
                             "tokens/s",
                             "tokens/s/gpu",
                             "tokens/s/user",
                             "num_total_gpus",
                             "tp",
                             "pp",
                             "dp",
                             "moe_tp",
                             "moe_ep",
                             "cp",
                             "parallel",
                             "gemm",
                             "kvcache",
                             "fmha",
                             "moe",
                             "comm",
                             "memory",
                             "ctx_tokens",
                             "backend",
                             "version",
                             "system",
                             "tokens/s/gpu_cluster"})
    out.field(column);
  out.end_row();
  const auto& in = result.inputs;
  for (const auto& c : result.pareto) {
    if (c.prefill) continue;  // other columns there
    const auto& l = c.layout;
    const auto& f = c.form;
    out.field(result.model);
    for (const double value :
         {in.isl, in.osl, in.prefix, f.concurrency, f.request_s, c.batch, c.batch * l.dp, f.ttft_ms,
          f.tpot_ms, f.request_ms, f.request_s, f.request_s / l.gpus(), f.output_tok_s,
          c.tok_s_per_gpu(), c.tok_s_per_user()})
      out.field(number(value));
    for (const int value : {l.gpus(), l.tp, l.pp, l.dp, l.moe_tp, l.moe_ep, l.cp}) out.field(value);
    out.field(l.text())
        .field(c.formats.gemm)
        .field(c.formats.kv)
        .field(c.formats.fmha)
        .field(c.formats.moe)
        .field("half");
    out.field(number(f.memory.total() / kGibi)).field(number(c.chunk));
    out.field(serving::name(c.engine)).field(c.version).field(result.system);
    out.field(number(c.tok_s_per_cluster_gpu(in.gpus)));
    out.end_row();
  }
  return out.text();
}

}  // namespace dsaperf::report
