#include "arrow_table.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/layer_predictor.hpp"
#include "dsaperf/predict/opened_tables.hpp"
#include "dsaperf/report/estimate.hpp"
#include "dsaperf/report/layer_cost.hpp"
#include "dsaperf/report/query.hpp"
#include "dsaperf/report/sweep.hpp"
#include "dsaperf/serving/estimate.hpp"
#include "dsaperf/serving/sweep.hpp"
#include "report_parts.hpp"
#include "reports.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <utility>

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

using serving::Engine;

// As the program asks: a backend that was not named ("") is the default, or ours where no other
// tables are.
predict::OpenedTables open_tables(const std::string& systems, const std::string& backend,
                                  const char* usual) {
  return take(predict::open_tables(systems, backend.empty() ? usual : backend, !backend.empty()));
}

serving::Method serving_method(const std::string& name) {
  if (name == "model") return serving::Method::kModel;
  if (name == "compatible") return serving::Method::kCompatible;
  refuse("method '{}' is none of model, compatible", name);
}

serving::Mode mode_of(const std::string& name) {
  if (name == "agg") return serving::Mode::kInFlight;
  if (name == "static") return serving::Mode::kStatic;
  if (name == "disagg") return serving::Mode::kDisaggregated;
  refuse("mode '{}' is none of agg, static, disagg", name);
}

// Workers of one kind, disaggregated; 0: as the deployment has it.
struct Workers {
  int count = 1;
  int tp = 0, pp = 0, dp = 0, ep = 0, moe_tp = 0;
};

struct Deployment {
  std::string config, systems, system, backend, version, mode, method, quirks, host, kv, gemm;
  int tp = 1, pp = 1, dp = 1, ep = 1, moe_tp = 0, cp = 1;
  double isl = 0, osl = 0, prefix = 0;
  std::optional<double> length_ratio, concurrency, rate, memory_fraction, max_batch, chunk;
  int mtp = 0;
  double mtp_accepted = 0;
  int prompts = 0;
  Workers prefill, decode;
};

serving::Layout layout_of(const Workers& workers, int cp) {
  const int width = workers.tp * workers.dp * cp;
  if (workers.ep < 1 || (workers.moe_tp == 0 && width % workers.ep != 0))
    refuse("tp * dp * cp = {} does not divide by ep {}", width, workers.ep);
  return {.tp = workers.tp,
          .pp = workers.pp,
          .dp = workers.dp,
          .moe_tp = workers.moe_tp != 0 ? workers.moe_tp : width / workers.ep,
          .moe_ep = workers.ep,
          .cp = cp};
}

serving::Workers workers_of(const Deployment& d, Workers workers) {
  if (workers.tp == 0) workers.tp = d.tp;
  if (workers.pp == 0) workers.pp = d.pp;
  if (workers.dp == 0) workers.dp = d.dp;
  if (workers.ep == 0) workers.ep = d.ep;
  serving::Workers filled;
  filled.count = workers.count;
  filled.layout = layout_of(workers, 1);
  return filled;
}

// Lengths come as any number of Python's: 4096.0 is a whole one.
void check_lengths(double isl, double osl, double prefix) {
  const std::array<std::pair<const char*, double>, 3> lengths = {
      {{"isl", isl}, {"osl", osl}, {"prefix", prefix}}};
  for (const auto& [name, tokens] : lengths) {
    if (tokens != std::floor(tokens)) refuse("{}: {} is no whole number of tokens", name, tokens);
  }
}

nb::tuple estimate(const Deployment& d) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    check_lengths(d.isl, d.osl, d.prefix);
    serving::EstimateInputs in;
    const auto opened = open_tables(d.systems, d.backend, "sglang");
    in.engine = take(serving::engine_from_name(d.backend.empty() ? "sglang" : d.backend));
    in.mode = mode_of(d.mode);
    in.method = serving_method(d.method);
    in.formats = {.gemm = table_format(d.gemm), .kv = table_format(d.kv)};
    in.isl = d.isl;
    in.osl = d.osl;
    in.prefix = d.prefix;
    in.length_ratio = d.length_ratio;
    in.concurrency = d.concurrency;
    in.rate_per_s = d.rate;
    in.memory_fraction = d.memory_fraction;
    in.max_batch = d.max_batch;
    in.chunk = d.chunk;
    in.draft_tokens = d.mtp;
    in.draft_kept = d.mtp_accepted;
    in.prompts = d.prompts;
    in.host = d.host;
    in.quirks = take(serving::Quirks::parse(d.quirks));
    if (d.concurrency && d.rate) refuse("concurrency and rate exclude each other");
    if (!d.concurrency && !d.rate) in.concurrency = 1;
    const Workers whole{.tp = d.tp, .pp = d.pp, .dp = d.dp, .ep = d.ep, .moe_tp = d.moe_tp};
    in.layout = layout_of(whole, d.cp);
    if (in.mode == serving::Mode::kDisaggregated) {
      in.prefill = workers_of(d, d.prefill);
      in.decode = workers_of(d, d.decode);
    }
    const auto spec = load(d.config);
    auto operators = take(opened.operators(d.system, opened.backend, d.version));
    auto answer = take(serving::estimate(spec, operators, in));
    std::ranges::copy(opened.warnings(d.system), std::back_inserter(answer.warnings));
    return rendered(report::json(answer), report::text(answer, {}));
  }();
  return as_tuple(report);
}

ArrowTable table_of(const std::vector<serving::Candidate>& candidates, int gpus) {
  std::map<std::string, std::vector<std::string>> texts;
  std::vector<std::pair<std::string, std::vector<double>>> reals = {
      {"batch_per_rank", {}},
      {"chunk_tokens", {}},
      {"concurrency", {}},
      {"ttft_ms", {}},
      {"tpot_ms", {}},
      {"request_ms", {}},
      {"requests_s", {}},
      {"output_tok_s", {}},
      {"output_tok_s_per_gpu", {}},
      {"memory_gib", {}},
      {"output_tok_s_per_user", {}},
      {"output_tok_s_per_cluster_gpu", {}}};
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> integers = {
      {"tp", {}}, {"pp", {}}, {"dp", {}},   {"moe_tp", {}},
      {"ep", {}}, {"cp", {}}, {"gpus", {}}, {"workers", {}}};
  std::vector<bool> meets_limits;
  for (const auto& c : candidates) {
    texts["backend"].emplace_back(serving::name(c.engine));
    texts["version"].push_back(c.version);
    texts["layout"].push_back(c.layout.text());
    texts["kv"].push_back(c.formats.kv);
    texts["binds"].push_back(c.binds);
    const auto& l = c.layout;
    std::size_t column = 0;
    for (const int value : {l.tp, l.pp, l.dp, l.moe_tp, l.moe_ep, l.cp, l.gpus(), c.workers})
      integers[column++].second.push_back(value);
    const auto& f = c.form;
    column = 0;
    for (const double value :
         {c.batch, c.chunk, f.concurrency, f.ttft_ms, f.tpot_ms, f.request_ms, f.request_s,
          f.output_tok_s, c.tok_s_per_gpu(), f.memory.total() / (1 << 30), c.tok_s_per_user(),
          c.tok_s_per_cluster_gpu(gpus)})
      reals[column++].second.push_back(value);
    meets_limits.push_back(c.meets_limits);
  }
  ArrowTable table;
  for (const char* name : {"backend", "version", "layout", "kv", "binds"})
    table.add_text(name, texts[name]);
  for (auto& [name, values] : integers) table.add_integers(name, std::move(values));
  for (auto& [name, values] : reals) table.add_reals(name, std::move(values));
  table.add_flags("meets_limits", meets_limits);
  return table;
}

nb::tuple sweep(const std::string& config, const std::string& systems, const std::string& system,
                const std::string& backend, const std::string& version, int gpus, double isl,
                double osl, double prefix, std::optional<double> ttft, std::optional<double> tpot,
                const std::string& kv, const std::string& gemm, const std::string& method) {
  Rendered report;
  ArrowTable candidates, pareto;
  {
    const nb::gil_scoped_release unlocked;
    check_lengths(isl, osl, prefix);
    if (gpus < 1 || gpus > 1024) refuse("gpus {} is not 1 ... 1024", gpus);
    serving::SweepInputs in{.gpus = gpus,
                            .isl = isl,
                            .osl = osl,
                            .prefix = prefix,
                            .method = serving_method(method),
                            .formats = {.gemm = table_format(gemm), .kv = table_format(kv)}};
    if (ttft) in.ttft_limit_ms = *ttft;
    if (tpot) in.tpot_limit_ms = *tpot;
    std::vector<Engine> engines = {Engine::kSglang, Engine::kVllm, Engine::kTrtllm};
    if (!backend.empty()) engines = {take(serving::engine_from_name(backend))};
    const auto opened = open_tables(systems, backend, "");
    if (opened.are_ours()) engines.resize(1);  // all would find the same table
    const auto open = [&](Engine engine) {
      return opened.operators(system, name(engine), version);
    };
    auto result = take(serving::sweep(load(config), engines, open, in));
    std::ranges::copy(opened.warnings(system), std::back_inserter(result.warnings));
    constexpr int kTop = 10;
    report = rendered(report::json(result), report::text(result, kTop, {}));
    candidates = table_of(result.candidates, gpus);
    pareto = table_of(result.pareto, gpus);
  }
  const auto both = as_tuple(report);
  return nb::make_tuple(both[0], both[1], std::move(candidates), std::move(pareto));
}

perfdb::Phase phase_of(const std::string& name) {
  if (name == "context") return perfdb::Phase::kContext;
  if (name == "generation") return perfdb::Phase::kGeneration;
  refuse("phase '{}' is none of context, generation", name);
}

struct LayerQuestion {
  std::string systems, system, backend, version, architecture, phase, kv, gemm, fmha, method, vary;
  std::int64_t heads = 0, batch = 1, new_tokens = 1, past_tokens = 0;
  double full_layer_share = 1;
  int context_parallel = 1;
};

nb::tuple query(const LayerQuestion& q) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    const auto method = predict::method_from_name(q.method);
    if (!method) refuse("method '{}' is none of stages, compatible", q.method);
    const auto opened = open_tables(q.systems, q.backend, "sglang");
    predict::LayerPredictor predictor(opened.tree, *method);
    report::LayerAnswer answer{
        .tables = {.system = q.system, .backend = opened.backend, .version = q.version},
        .kind = {.architecture = q.architecture,
                 .kv_dtype = table_format(q.kv),
                 .fmha_dtype = table_format(q.fmha),
                 .gemm_dtype = table_format(q.gemm)},
        .shape = {.phase = phase_of(q.phase),
                  .heads = q.heads,
                  .batch = q.batch,
                  .new_tokens = q.new_tokens,
                  .past_tokens = q.past_tokens,
                  .full_layer_share = q.full_layer_share,
                  .context_parallel = q.context_parallel},
        .method = *method};
    answer.latency = take(predictor.at(answer.tables, answer.kind, answer.shape));
    answer.peer_bound = take(predictor.peer_bound(answer.tables, answer.kind, answer.shape));
    if (*method == predict::Method::kStages && q.context_parallel <= 1)
      answer.explanation = take(predictor.explain(answer.tables, answer.kind, answer.shape));
    if (!q.vary.empty())
      answer.variations = take(predict::vary(predictor, answer.tables, answer.kind, answer.shape,
                                             take(predict::parse_changes(q.vary))));
    answer.tables.version = take(predictor.version(answer.tables));
    return rendered(report::json(answer), report::text(answer, {}));
  }();
  return as_tuple(report);
}

// What each stage of a layer must compute and move; measured rows are query()'s business.
nb::tuple stages(const std::string& config, const std::string& system, const std::string& phase,
                 int heads, std::int64_t batch, std::int64_t new_tokens, std::int64_t past_tokens,
                 const std::string& kv_name) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    const auto spec = load(config);
    const auto& layer = model::typical_layer(spec);
    const auto kv = kv_name == "fp8" ? model::KvFormat::kFp8 : model::KvFormat::kBf16;
    report::LayerCostReport shown;
    shown.model = spec.name;
    shown.system = take(cost::find_system(take(data_dir()), system));
    const int used = heads > 0 ? heads : layer.geometry.heads;
    const bool context = phase_of(phase) == perfdb::Phase::kContext;
    shown.shape = context ? cost::Shape::prefill(batch, new_tokens, past_tokens, used, kv)
                          : cost::Shape::decode(batch, new_tokens, past_tokens, used, kv);
    shown.title = fmt::format("{}, {} x {} new tokens after {} cached, {} heads, {} cache",
                              context ? "prefill" : "decode", batch, new_tokens, past_tokens, used,
                              kv_name == "fp8" ? "fp8" : "bf16");
    shown.cost = take(cost::layer_cost(layer, shown.shape));
    return rendered(report::json(shown), report::text(shown, {}));
  }();
  return as_tuple(report);
}

}  // namespace

void bind_prediction_reports(nb::module_& module) {
  nb::class_<Workers>(module, "Workers")
      .def(nb::init<>())
      .def_rw("count", &Workers::count)
      .def_rw("tp", &Workers::tp)
      .def_rw("pp", &Workers::pp)
      .def_rw("dp", &Workers::dp)
      .def_rw("ep", &Workers::ep)
      .def_rw("moe_tp", &Workers::moe_tp);
  nb::class_<Deployment>(module, "Deployment")
      .def(nb::init<>())
      .def_rw("config", &Deployment::config)
      .def_rw("systems", &Deployment::systems)
      .def_rw("system", &Deployment::system)
      .def_rw("backend", &Deployment::backend)
      .def_rw("version", &Deployment::version)
      .def_rw("mode", &Deployment::mode)
      .def_rw("method", &Deployment::method)
      .def_rw("quirks", &Deployment::quirks)
      .def_rw("host", &Deployment::host)
      .def_rw("kv", &Deployment::kv)
      .def_rw("gemm", &Deployment::gemm)
      .def_rw("tp", &Deployment::tp)
      .def_rw("pp", &Deployment::pp)
      .def_rw("dp", &Deployment::dp)
      .def_rw("ep", &Deployment::ep)
      .def_rw("moe_tp", &Deployment::moe_tp)
      .def_rw("cp", &Deployment::cp)
      .def_rw("isl", &Deployment::isl)
      .def_rw("osl", &Deployment::osl)
      .def_rw("prefix", &Deployment::prefix)
      .def_rw("length_ratio", &Deployment::length_ratio)
      .def_rw("concurrency", &Deployment::concurrency)
      .def_rw("rate", &Deployment::rate)
      .def_rw("memory_fraction", &Deployment::memory_fraction)
      .def_rw("max_batch", &Deployment::max_batch)
      .def_rw("chunk", &Deployment::chunk)
      .def_rw("mtp", &Deployment::mtp)
      .def_rw("mtp_accepted", &Deployment::mtp_accepted)
      .def_rw("prompts", &Deployment::prompts)
      .def_rw("prefill", &Deployment::prefill)
      .def_rw("decode", &Deployment::decode);
  module.def("estimate", &estimate, nb::arg("deployment"));
  module.def("sweep", &sweep, nb::arg("config"), nb::arg("systems"), nb::arg("system"),
             nb::arg("backend"), nb::arg("version"), nb::arg("gpus"), nb::arg("isl"),
             nb::arg("osl"), nb::arg("prefix"), nb::arg("ttft").none(), nb::arg("tpot").none(),
             nb::arg("kv"), nb::arg("gemm"), nb::arg("method"));
  nb::class_<LayerQuestion>(module, "LayerQuestion")
      .def(nb::init<>())
      .def_rw("systems", &LayerQuestion::systems)
      .def_rw("system", &LayerQuestion::system)
      .def_rw("backend", &LayerQuestion::backend)
      .def_rw("version", &LayerQuestion::version)
      .def_rw("architecture", &LayerQuestion::architecture)
      .def_rw("phase", &LayerQuestion::phase)
      .def_rw("kv", &LayerQuestion::kv)
      .def_rw("gemm", &LayerQuestion::gemm)
      .def_rw("fmha", &LayerQuestion::fmha)
      .def_rw("method", &LayerQuestion::method)
      .def_rw("vary", &LayerQuestion::vary)
      .def_rw("heads", &LayerQuestion::heads)
      .def_rw("batch", &LayerQuestion::batch)
      .def_rw("new_tokens", &LayerQuestion::new_tokens)
      .def_rw("past_tokens", &LayerQuestion::past_tokens)
      .def_rw("full_layer_share", &LayerQuestion::full_layer_share)
      .def_rw("context_parallel", &LayerQuestion::context_parallel);
  module.def("query", &query, nb::arg("question"));
  module.def("stages", &stages, nb::arg("config"), nb::arg("system"), nb::arg("phase"),
             nb::arg("heads"), nb::arg("batch"), nb::arg("new_tokens"), nb::arg("past_tokens"),
             nb::arg("kv"));
}

}  // namespace dsaperf::python
