#include "dsaperf/report/estimate.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/wrapped.hpp"

#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;
using nlohmann::ordered_json;
using serving::kGibi;

ordered_json or_null(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

std::string_view mode_name(serving::Mode mode) {
  switch (mode) {
    case serving::Mode::kInFlight:
      return "agg";
    case serving::Mode::kStatic:
      return "static";
    case serving::Mode::kDisaggregated:
      return "disagg";
  }
  return "";
}

ordered_json memory_json(const serving::MemoryUse& use) {
  return {{"total", use.total() / kGibi},
          {"weights", use.weights / kGibi},
          {"activations", use.activations / kGibi},
          {"kv_cache", use.kv_cache / kGibi},
          {"nccl", use.nccl / kGibi},
          {"others", use.others / kGibi}};
}

ordered_json pass_json(const serving::PassTime& pass) {
  auto lines = ordered_json::array();
  const auto share = [&](double ms) { return pass.ms > 0 ? ms / pass.ms : 0; };
  const auto bound = [](ordered_json& entry, double ms, std::string_view binds) {
    entry["bound_ms"] = ms > 0 ? ordered_json(ms) : ordered_json(nullptr);
    entry["binds"] = ms > 0 ? ordered_json(binds) : ordered_json(nullptr);
  };
  for (const auto& line : pass.lines) {
    ordered_json entry = {{"name", line.name},
                          {"time_ms", line.time.ms},
                          {"share", share(line.time.ms)},
                          {"source", predict::name(line.time.source)}};
    if (line.bound) {
      bound(entry, line.bound->ms(), serving::name(line.bound->binds()));
      if (!line.bound->stages.empty()) {
        auto stages = ordered_json::array();
        for (const auto& stage : line.bound->stages) {
          ordered_json part = {
              {"name", stage.name}, {"time_ms", stage.ms}, {"share", share(stage.ms)}};
          bound(part, stage.bound_ms, stage.binds);
          stages.push_back(std::move(part));
        }
        entry["stages"] = std::move(stages);
      }
    }
    lines.push_back(std::move(entry));
  }
  return {{"time_ms", pass.ms}, {"operators", lines}};
}

ordered_json percentiles_json(const serving::Percentiles& p) {
  return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"mean", p.mean}};
}

ordered_json closed_form_json(const serving::ClosedForm& closed, int gpus) {
  return {{"ttft_ms", closed.ttft_ms},
          {"tpot_ms", closed.tpot_ms},
          {"request_ms", closed.request_ms},
          {"output_tok_s", closed.output_tok_s},
          {"output_tok_s_per_gpu", closed.output_tok_s_per_gpu(gpus)},
          {"requests_s", closed.request_s},
          {"concurrency", closed.concurrency},
          {"context_ms", closed.context.ms},
          {"generation_ms", closed.generation.ms},
          {"mixed_steps", closed.mixed_steps},
          {"decode_steps", closed.decode_steps},
          {"memory_gib", memory_json(closed.memory)},
          {"fit", closed.fit == serving::Fit::kFits          ? "fits"
                  : closed.fit == serving::Fit::kOutOfMemory ? "out_of_memory"
                                                             : "out_of_cache"}};
}

ordered_json layout_json(const serving::Layout& l) {
  return {{"tp", l.tp},     {"pp", l.pp}, {"dp", l.dp},      {"moe_tp", l.moe_tp},
          {"ep", l.moe_ep}, {"cp", l.cp}, {"gpus", l.gpus()}};
}

ordered_json workers_json(const serving::Workers& workers) {
  return {{"workers", workers.count}, {"layout", layout_json(workers.layout)}};
}

ordered_json capacity_json(const serving::Capacity& capacity) {
  return {{"cache_bytes_per_token", capacity.cache_bytes_per_token},
          {"cache_tokens", std::max(capacity.cache_tokens, 0.0)},
          {"cache_requests", capacity.cache_requests},
          {"score_buffer_gib", capacity.score_buffer / kGibi},
          {"card_gib", capacity.card_bytes / kGibi}};
}

std::string or_dash(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "-";
}

std::string pass_text(const char* title, const serving::PassTime& pass, const TextStyle& style) {
  if (pass.lines.empty()) return "";
  TextTable table({{.title = title},
                   {.title = "ms", .align = Align::kRight},
                   {.title = "share"},
                   {.title = "bound", .align = Align::kRight},
                   {.title = "binds"},
                   {.title = "source"}});
  const auto row = [&](const std::string& name, double ms, double bound, std::string_view binds,
                       std::string_view source) {
    const bool bounded = bound > 0;
    table.add_row({name, fmt::format("{:.3f}", ms), share_bar(ms / pass.ms, 10),
                   bounded ? fmt::format("{:.3f}", bound) : "-", bounded ? std::string(binds) : "",
                   std::string(source)});
  };
  for (const auto& line : pass.lines) {
    if (line.time.ms == 0) continue;
    row(line.name, line.time.ms, line.bound ? line.bound->ms() : 0,
        line.bound ? serving::name(line.bound->binds()) : "", predict::name(line.time.source));
    if (!line.bound) continue;
    for (const auto& stage : line.bound->stages)
      row("  " + stage.name, stage.ms, stage.bound_ms, stage.binds, "");
  }
  table.add_rule();
  table.add_row({"sum", fmt::format("{:.3f}", pass.ms)});
  return "\n" + table.str(style);
}

}  // namespace

std::string text(const serving::Estimate& e, const TextStyle& style) {
  const auto& in = e.inputs;
  const bool disagg = in.mode == serving::Mode::kDisaggregated;
  const auto layout =
      disagg ? fmt::format("prefill {} x {}, decode {} x {}", in.prefill.count,
                           in.prefill.layout.text(), in.decode.count, in.decode.layout.text())
             : in.layout.text();
  std::string out = fmt::format(
      "{} on {} x {}, {} {}, {} ({})\n"
      "{:.0f} in, {:.0f} out, {:.1f} at a time\n"
      "GEMMs {}, attention {}, experts {}, cache {}\n\n",
      e.model, e.gpus, e.system, serving::name(in.engine), e.version, layout, mode_name(in.mode),
      in.isl, in.osl, e.concurrency, e.formats.gemm, e.formats.attention, e.formats.moe,
      e.formats.kv);
  out = wrapped(out, style.width);
  if (!e.fits) out += wrapped(fmt::format("does not fit: {}\n", e.reason), style.width);
  if (e.fits) {
    const auto* sim = e.simulation ? &*e.simulation : nullptr;
    TextTable table({{.title = ""},
                     {.title = sim != nullptr ? "mean" : "", .align = Align::kRight},
                     {.title = sim != nullptr ? "p50" : "", .align = Align::kRight},
                     {.title = sim != nullptr ? "p90" : "", .align = Align::kRight},
                     {.title = sim != nullptr ? "p99" : "", .align = Align::kRight},
                     {.title = "closed form", .align = Align::kRight}});
    const auto row = [&](const char* title, const std::optional<double>& value,
                         const serving::Percentiles* p, double closed) {
      const auto part = [&](double serving::Percentiles::* which) {
        return p != nullptr ? fmt::format("{:.2f}", p->*which) : "";
      };
      table.add_row({title, or_dash(value, 2), part(&serving::Percentiles::p50),
                     part(&serving::Percentiles::p90), part(&serving::Percentiles::p99),
                     e.closed_form ? fmt::format("{:.2f}", closed) : "-"});
    };
    row("time to first token, ms", e.ttft_ms, sim != nullptr ? &sim->ttft_ms : nullptr,
        e.closed_form ? e.closed_form->ttft_ms : 0);
    row("time a token, ms", e.tpot_ms, sim != nullptr ? &sim->tpot_ms : nullptr,
        e.closed_form ? e.closed_form->tpot_ms : 0);
    row("request, ms", e.request_ms, sim != nullptr ? &sim->request_ms : nullptr,
        e.closed_form ? e.closed_form->request_ms : 0);
    row("output tokens/s a GPU", e.output_tok_s_per_gpu, nullptr,
        e.closed_form ? e.closed_form->output_tok_s_per_gpu(e.gpus) : 0);
    out += table.str(style);
  }
  TextTable memory({{.title = "memory of a GPU"}, {.title = "GiB", .align = Align::kRight}});
  for (const auto& [title, bytes] : {std::pair{"weights", e.memory.weights},
                                     {"activations", e.memory.activations},
                                     {"cache", e.memory.kv_cache},
                                     {"communication", e.memory.nccl},
                                     {"runtime", e.memory.others},
                                     {"sum", e.memory.total()}})
    memory.add_row({title, fmt::format("{:.2f}", bytes / kGibi)});
  out += "\n" + memory.str(style);
  if (e.capacity)
    out += fmt::format("\nThe cache holds {:.0f} tokens a rank, {:.0f} requests of this length.\n",
                       std::max(e.capacity->cache_tokens, 0.0), e.capacity->cache_requests);
  if (e.disaggregated)
    out += fmt::format(
        "Prefill workers are busy {:.0f} % of the time, decode workers {:.0f} %; a prompt's cache "
        "travels {:.1f} ms.\n",
        100 * e.disaggregated->prefill_busy, 100 * e.disaggregated->decode_busy, e.transfer_ms);
  out += pass_text("prefill pass", e.context, style);
  out += pass_text("decode pass", e.generation, style);
  return out;
}

ordered_json json(const serving::Estimate& e) {
  const auto& in = e.inputs;
  const auto& l = in.layout;
  const bool disagg = in.mode == serving::Mode::kDisaggregated;
  const auto* sim = e.simulation ? &*e.simulation : nullptr;
  ordered_json document = {
      {"format", "dsaperf.estimate.1"},
      {"model", e.model},
      {"system", e.system},
      {"backend", serving::name(in.engine)},
      {"version", e.version},
      {"mode", mode_name(in.mode)},
      {"method", in.method == serving::Method::kCompatible ? "compatible" : "model"},
      {"layout", disagg ? ordered_json(nullptr) : layout_json(l)},
      {"prefill_workers", disagg ? workers_json(in.prefill) : ordered_json(nullptr)},
      {"decode_workers", disagg ? workers_json(in.decode) : ordered_json(nullptr)},
      {"gpus", e.gpus},
      {"formats",
       {{"gemm", e.formats.gemm},
        {"attention", e.formats.attention},
        {"shared_experts", e.formats.shared},
        {"moe", e.formats.moe},
        {"kv", e.formats.kv},
        {"fmha", e.formats.fmha}}},
      {"isl", in.isl},
      {"osl", in.osl},
      {"prefix", in.prefix},
      {"length_ratio", e.length_ratio},
      {"concurrency", e.concurrency},
      {"rate_per_s", or_null(in.rate_per_s)},
      {"chunk_tokens", e.chunk},
      {"max_batch", e.max_batch},
      {"ttft_ms", or_null(e.ttft_ms)},
      {"tpot_ms", or_null(e.tpot_ms)},
      {"ttft_median_ms", sim != nullptr ? ordered_json(sim->ttft_ms.p50) : ordered_json(nullptr)},
      {"tpot_median_ms", sim != nullptr ? ordered_json(sim->tpot_ms.p50) : ordered_json(nullptr)},
      {"ttft_mean_ms", sim != nullptr ? ordered_json(sim->ttft_ms.mean) : ordered_json(nullptr)},
      {"tpot_mean_ms", sim != nullptr ? ordered_json(sim->tpot_ms.mean) : ordered_json(nullptr)},
      {"request_ms", or_null(e.request_ms)},
      {"output_tok_s", or_null(e.output_tok_s)},
      {"output_tok_s_per_gpu", or_null(e.output_tok_s_per_gpu)},
      {"output_tok_s_per_user",
       e.tpot_ms && *e.tpot_ms > 0 ? ordered_json(1000 / *e.tpot_ms) : ordered_json(nullptr)},
      {"requests_s", or_null(e.requests_s)},
      {"memory_gib", e.memory.total() / kGibi},
      {"memory", memory_json(e.memory)},
      {"prefill_memory", e.prefill_memory ? memory_json(*e.prefill_memory) : ordered_json(nullptr)},
      {"fits", e.fits},
      {"reason", e.fits ? ordered_json(nullptr) : ordered_json(e.reason)}};
  if (e.capacity) document["capacity"] = capacity_json(*e.capacity);
  if (e.prefill_capacity) document["prefill_capacity"] = capacity_json(*e.prefill_capacity);
  if (e.simulation) {
    const auto& s = *e.simulation;
    // Time between tokens counts stalls of other requests' prefill where they fall; (latency -
    // ttft) / (tokens - 1) spreads them over the request.
    document["simulation"] = {{"ttft_ms", percentiles_json(s.ttft_ms)},
                              {"tpot_ms", percentiles_json(s.tpot_ms)},
                              {"inter_token_ms", percentiles_json(s.gap_ms)},
                              {"request_ms", percentiles_json(s.request_ms)},
                              {"requests", s.requests},
                              {"mean_decode_batch", s.mean_batch},
                              {"waiting_share", s.waiting_share},
                              {"preempted", s.preempted}};
  }
  if (e.disaggregated) {
    const auto& d = *e.disaggregated;
    document["disaggregated"] = {{"transfer_ms", e.transfer_ms},
                                 {"prefill_wait_ms", percentiles_json(d.prefill_wait_ms)},
                                 {"decode_wait_ms", percentiles_json(d.transfer_wait_ms)},
                                 {"prefill_busy", d.prefill_busy},
                                 {"decode_busy", d.decode_busy}};
  }
  if (e.closed_form) document["closed_form"] = closed_form_json(*e.closed_form, e.gpus);
  document["context"] = pass_json(e.context);
  document["generation"] = pass_json(e.generation);
  document["warnings"] = e.warnings;
  return document;
}

std::string text(const serving::FileEstimate& result, const TextStyle& style) {
  TextTable table({{.title = "deployment"},
                   {.title = "isl/osl", .align = Align::kRight},
                   {.title = "at a time", .align = Align::kRight},
                   {.title = "TTFT ms", .align = Align::kRight},
                   {.title = "estimated", .align = Align::kRight},
                   {.title = "TPOT ms", .align = Align::kRight},
                   {.title = "estimated", .align = Align::kRight}});
  std::string left_out;
  for (const auto& row : result.rows) {
    const auto name = fmt::format("{} {} {} {}", row.gpu, row.framework, row.model, row.precision);
    if (!row.left_out.empty()) {
      left_out += wrapped(fmt::format("left out: {}: {}\n", name, row.left_out), style.width,
                          {.indent = "  "});
      continue;
    }
    table.add_row({name, fmt::format("{:.0f}/{:.0f}", row.inputs.isl, row.inputs.osl),
                   row.inputs.concurrency
                       ? fmt::format("{:.0f}", *row.inputs.concurrency)
                       : fmt::format("{:.1f}/s", row.inputs.rate_per_s.value_or(0)),
                   or_dash(row.ttft_ms, 0), or_dash(row.estimated_ttft_ms, 0),
                   or_dash(row.tpot_ms, 2), or_dash(row.estimated_tpot_ms, 2)});
  }
  TextTable errors({{.title = "mean error"},
                    {.title = "rows", .align = Align::kRight},
                    {.title = "TTFT", .align = Align::kRight},
                    {.title = "TPOT", .align = Align::kRight}});
  for (const auto& error : result.errors)
    errors.add_row({error.group, std::to_string(error.rows),
                    fmt::format("{:.1f} %", 100 * error.ttft),
                    fmt::format("{:.1f} %", 100 * error.tpot)});
  return table.str(style) + "\n" + left_out + "\n" + errors.str(style);
}

ordered_json json(const serving::FileEstimate& result) {
  auto rows = ordered_json::array();
  for (const auto& row : result.rows)
    rows.push_back(
        {{"model", row.model},
         {"precision", row.precision},
         {"system", row.gpu},
         {"backend", row.framework},
         {"isl", row.inputs.isl},
         {"osl", row.inputs.osl},
         {"concurrency", or_null(row.inputs.concurrency)},
         {"rate_per_s", or_null(row.inputs.rate_per_s)},
         {"measured_ttft_ms", or_null(row.ttft_ms)},
         {"measured_tpot_ms", or_null(row.tpot_ms)},
         {"ttft_ms", or_null(row.estimated_ttft_ms)},
         {"tpot_ms", or_null(row.estimated_tpot_ms)},
         {"output_tok_s", or_null(row.estimated_tok_s)},
         {"source", row.source},
         {"assumed", row.assumed},
         {"error", row.left_out.empty() ? ordered_json(nullptr) : ordered_json(row.left_out)}});
  auto errors = ordered_json::array();
  for (const auto& error : result.errors)
    errors.push_back({{"group", error.group},
                      {"rows", error.rows},
                      {"ttft_mape", error.ttft},
                      {"tpot_mape", error.tpot}});
  return {{"format", "dsaperf.estimate.1"},
          {"rows", rows},
          {"errors", errors},
          {"warnings", ordered_json::array()}};
}

}  // namespace dsaperf::report
