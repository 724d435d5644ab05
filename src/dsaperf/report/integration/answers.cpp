// The first screen: six questions, each answered in a line from the documents, with its source.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>

namespace dsaperf::report::integration {
namespace {

Json answer(const char* name, const char* question, std::string text, const char* tone,
            std::string detail, std::string source) {
  return {{"name", name}, {"question", question},        {"answer", std::move(text)},
          {"tone", tone}, {"detail", std::move(detail)}, {"source", std::move(source)}};
}

std::string capital(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// Why there is no answer, for people. Of a model without sparse layers there is mostly none to
// give.
Json unknown(const char* name, const char* question, const Json& evidence, const char* phase) {
  std::string why = "This phase was skipped.";
  for (const auto& each : list_at(evidence, {"phases"})) {
    if (text_at(each, {"name"}) != phase || text_at(each, {"state"}) == "skipped") continue;
    const auto reason = text_at(each, {"reason"});
    why = reason.empty() ? "There is nothing that could be compared." : reason;
  }
  const bool dense = at(document_of(evidence, "analyze"), {"facts", "sparse"}) == false;
  return answer(name, question, dense ? "Does not apply" : "Not known", "unknown", why,
                std::string("phase ") + phase);
}

Json what_it_is(const Json& evidence) {
  constexpr auto kName = "model";
  constexpr auto kQuestion = "What is it?";
  const auto& analyze = document_of(evidence, "analyze");
  if (!analyze.is_object()) return unknown(kName, kQuestion, evidence, "analyze");
  const auto& facts = at(analyze, {"facts"});
  std::string text;
  if (at(facts, {"sparse"}) == true) {
    // Some models have two attention blocks in what they count as one layer.
    const double sparse = number_at(facts, {"sparse_layers"});
    const double layers = number_at(facts, {"layers"});
    text = sparse > layers
               ? fmt::format("Sparse attention in {} blocks of {} layers", sparse, layers)
               : fmt::format("Sparse attention in {} of {} layers", sparse, layers);
    if (const double topk = number_at(facts, {"index_topk"}); topk > 0) {
      text += fmt::format(", top {} tokens", topk);
    }
  } else {
    text = fmt::format("{} layers, none of them sparse", number_at(facts, {"layers"}));
  }
  const double total = number_at(analyze, {"weights", "total", "parameters"});
  const double active = number_at(analyze, {"weights", "total", "active_parameters"});
  auto detail = fmt::format("{} parameters, {} active a token, {}.", quantity(total),
                            quantity(active), text_at(facts, {"weights_quant"}));
  if (const auto nearest = text_at(analyze, {"nearest", "name"});
      !nearest.empty() && nearest != text_at(analyze, {"name"})) {
    detail += fmt::format(" Nearest known model: {}.", nearest);
  }
  if (at(facts, {"sparse"}) == false) {
    detail += " If it should be: the config has no index_n_heads, index_head_dim, index_topk.";
  }
  return answer(kName, kQuestion, text, "plain", detail, "config.json");
}

Json is_it_right(const Json& evidence) {
  constexpr auto kName = "right";
  constexpr auto kQuestion = "Is the layer right?";
  const auto& run = document_of(evidence, "run");
  const auto& passed = at(run, {"check", "passed"});
  if (!passed.is_boolean()) return unknown(kName, kQuestion, evidence, "run");
  const auto& stages = list_at(run, {"stages"});
  std::string failed;
  std::size_t good = 0;
  for (const auto& stage : stages) {
    if (at(stage, {"passed"}) == true) {
      ++good;
    } else {
      failed += (failed.empty() ? "" : ", ") + spaced(text_at(stage, {"name"}));
    }
  }
  const auto text = passed == true
                        ? fmt::format("Yes: {} of {} stages", good, stages.size())
                        : fmt::format("No: {}", failed.empty() ? "the check failed" : failed);
  return answer(
      kName, kQuestion, text, passed == true ? "good" : "bad",
      fmt::format("{} tokens after {}, {} heads, compared with double precision.",
                  number_at(run, {"check", "tokens"}), number_at(run, {"past_tokens"}),
                  number_at(run, {"heads"})),
      fmt::format("run on {} ({})", text_at(run, {"device"}), text_at(run, {"device_name"})));
}

Json does_it_align(const Json& evidence) {
  constexpr auto kName = "align";
  constexpr auto kQuestion = "Does it align?";
  const auto& align = document_of(evidence, "align");
  if (align.is_object()) {
    const bool aligned = text_at(align, {"verdict"}) == "aligned";
    nlohmann::ordered_map<std::string, std::vector<std::string>> states;
    std::size_t deciding = 0;
    for (const auto& stage : list_at(align, {"stages"})) {
      if (at(stage, {"decisive"}) != true) continue;
      ++deciding;
      states[spaced(text_at(stage, {"state"}))].push_back(text_at(stage, {"title"}));
    }
    auto detail = fmt::format("{} of {} deciding stages have the same kernels.",
                              states["same"].size(), deciding);
    if (!aligned && states["same"].size() == deciding) detail += " Their times are too far apart.";
    for (const auto& [state, stages] : states) {
      if (state != "same")
        detail += fmt::format(" {}: {}.", capital(state), fmt::join(stages, ", "));
    }
    return answer(kName, kQuestion, aligned ? "Yes, kernel by kernel" : "No",
                  aligned ? "good" : "bad", detail,
                  file_name(text_at(align, {"mock", "file"})) + " against " +
                      file_name(text_at(align, {"reference", "file"})));
  }
  const auto list = compare_stage_list(evidence);
  if (!list.known) return unknown(kName, kQuestion, evidence, "align");
  const auto same = std::count_if(list.rows.begin(), list.rows.end(),
                                  [](const Json& row) { return row["state"] == "same"; });
  const auto counted = fmt::format("{} of {} stages", same, list.rows.size());
  if (document_of(evidence, "reference").is_object()) {
    return answer(kName, kQuestion, (list.aligned ? "Yes: " : "No: ") + counted,
                  list.aligned ? "good" : "bad",
                  "Kernels of the recording stand for the stages of the model's layer. A recording "
                  "of the layer alone (--mock) would be compared kernel by kernel.",
                  file_name(list.against));
  }
  // The layer that was run is ours: that it has its stages is no proof of how a served one runs.
  return answer(kName, kQuestion,
                list.aligned ? "Stages are complete; kernels not compared" : "No: " + counted,
                list.aligned ? "plain" : "bad",
                fmt::format("The layer ran {} of its model. Give a recording of the served model "
                            "(--reference FILE) to compare kernels and times.",
                            counted),
                list.against);
}

// The fastest table's time of the layer, and its name with how the time came about. A time beyond
// a table's rows is taken where there is no other.
std::pair<double, std::string> fastest(const Json& stages) {
  std::pair<double, std::string> best{std::nan(""), ""};
  bool best_is_beyond = false;
  for (const auto& measured : list_at(stages, {"measured"})) {
    const double us = number_at(measured, {"latency_us"});
    const auto source = text_at(measured, {"source"});
    const bool beyond = source == "extrapolated";
    if (best.first > 0 && (beyond != best_is_beyond ? beyond : us >= best.first)) continue;
    best = {us, fmt::format("{} {}, {}", text_at(measured, {"backend"}),
                            text_at(measured, {"version"}), source)};
    best_is_beyond = beyond;
  }
  return best;
}

// What the first group of requests of `query --stages` asks for.
const Json& first_request(const Json& stages) {
  static const Json kNothing;
  const auto& requests = list_at(stages, {"requests"});
  return requests.empty() ? kNothing : requests[0];
}

// What one layer takes, each time with the table that it is of.
std::string layer_times(const Json& prefills, const Json& decodes) {
  const auto prefill = fastest(prefills);
  const auto decode = fastest(decodes);
  std::vector<std::string> times;
  const auto add = [&](const std::string& what, const std::pair<double, std::string>& time,
                       bool name_table) {
    if (!std::isfinite(time.first)) return;
    times.push_back(what + duration(time.first) + (name_table ? " (" + time.second + ")" : ""));
  };
  add(fmt::format("a prompt of {} tokens ", number_at(first_request(prefills), {"new_tokens"})),
      prefill, prefill.second != decode.second);
  add(fmt::format("a step of {} requests after {} tokens ",
                  number_at(first_request(decodes), {"count"}),
                  number_at(first_request(decodes), {"past_tokens"})),
      decode, true);
  if (times.empty()) return "";
  return fmt::format(" One layer's attention, {} heads: {}.", number_at(prefills, {"heads"}),
                     fmt::join(times, ", "));
}

Json how_fast(const Json& evidence) {
  constexpr auto kName = "speed";
  constexpr auto kQuestion = "How fast?";
  for (const auto& system : systems_of(evidence)) {
    const auto& estimate = document_of(evidence, "estimate." + system);
    const double ttft = number_at(estimate, {"ttft_ms"});
    if (!std::isfinite(ttft)) continue;
    return answer(
        kName, kQuestion,
        fmt::format("First token {}, then {} a token", duration(1e3 * ttft),
                    duration(1e3 * number_at(estimate, {"tpot_ms"}))),
        "plain",
        fmt::format("{} requests at a time on {} x {}, prompts of {}, answers of {} tokens.{}",
                    number_at(estimate, {"concurrency"}), number_at(evidence, {"options", "gpus"}),
                    system, number_at(evidence, {"options", "isl"}),
                    number_at(evidence, {"options", "osl"}),
                    layer_times(document_of(evidence, "prefill." + system),
                                document_of(evidence, "decode." + system))),
        "modelled: simulation of the chosen deployment; layer: rows of the table that is named");
  }
  const auto& run = document_of(evidence, "run");
  if (run.is_object()) {
    return answer(kName, kQuestion,
                  fmt::format("{} a layer on {}", duration(number_at(run, {"time_us"})),
                              text_at(run, {"device"})),
                  "plain", "No table has this model's attention on the chosen systems.",
                  "measured: run");
  }
  return unknown(kName, kQuestion, evidence, "predict");
}

// The stage that most of a pass goes to: by the times of the stage model where tables have the
// layer, else by the bounds.
struct Largest {
  std::string stage;
  double percent = std::nan("");
  double times_bound =
      std::nan("");  // how often its bound it takes; NaN where only bounds are known
  std::string binds;
};

Largest largest(const Json& evidence, const std::string& pass, const std::string& system) {
  const auto& bounds = document_of(evidence, pass + "." + system);
  const auto& modelled =
      list_at(document_of(evidence, pass + "_model." + system), {"explanation", "stages"});
  const bool by_bound = modelled.empty();
  const char* key = by_bound ? "bound_us" : "time_ms";
  const Json* most = nullptr;
  double sum = 0;
  for (const auto& stage : by_bound ? list_at(bounds, {"stages"}) : modelled) {
    const double time = number_at(stage, {key});
    if (!(time > 0)) continue;
    sum += time;
    if (most == nullptr || time > number_at(*most, {key})) most = &stage;
  }
  if (most == nullptr) return {};
  const double time = number_at(*most, {key});
  return {.stage = spaced(text_at(*most, {"name"})),
          .percent = 100 * time / sum,
          .times_bound = by_bound ? std::nan("") : time / number_at(*most, {"bound_ms"}),
          .binds = text_at(*most, {"binds"})};
}

// "Prefill: attention takes 10.0 times its bound (math); the layer 5.1 times." Empty where no table
// has the layer.
std::string beside_bound(const char* title, const Largest& most, const Json& stages) {
  std::string text;
  if (std::isfinite(most.times_bound)) {
    text = fmt::format("{} takes {:.1f} times its bound ({})", most.stage, most.times_bound,
                       most.binds);
  }
  if (const double layer = fastest(stages).first / number_at(stages, {"bound_us"});
      std::isfinite(layer)) {
    text += fmt::format("{}the layer {:.1f} times{}", text.empty() ? "" : ", ", layer,
                        text.empty() ? " its bound" : "");
  }
  return text.empty() ? text : fmt::format("{}: {}. ", title, text);
}

Json what_limits(const Json& evidence) {
  constexpr auto kName = "limits";
  constexpr auto kQuestion = "What limits it?";
  for (const auto& system : systems_of(evidence)) {
    const auto prefill = largest(evidence, "prefill", system);
    const auto decode = largest(evidence, "decode", system);
    if (prefill.stage.empty() && decode.stage.empty()) continue;
    std::string text;
    for (const auto& [pass, most] : {std::pair("prefill", &prefill), {"decode", &decode}}) {
      if (most->stage.empty()) continue;
      const bool same = decode.stage == prefill.stage && !text.empty();
      text += fmt::format("{}{}{:.0f} % of {}", text.empty() ? "" : ", ",
                          same ? "" : most->stage + ": ", most->percent, pass);
    }
    const bool modelled = std::isfinite(prefill.times_bound) || std::isfinite(decode.times_bound);
    auto detail = beside_bound("Prefill", prefill, document_of(evidence, "prefill." + system)) +
                  beside_bound("Decode", decode, document_of(evidence, "decode." + system));
    if (!modelled) detail += "Shares are of the bounds of all stages: no table has the layer.";
    return answer(kName, kQuestion, capital(text), "plain", detail,
                  (modelled ? "modelled: stages read out of rows of whole layers; " : "") +
                      ("bound on " + system + ": FLOPs and bytes over data/systems' peaks"));
  }
  return unknown(kName, kQuestion, evidence, "predict");
}

// "tp 2, dp 4, moe-tp 8": what is not one, by the flags of estimate.
std::string layout_words(const Json& candidate) {
  std::string text;
  for (const auto& [key, word] : {std::pair("tp", "tp"),
                                  {"pp", "pp"},
                                  {"dp", "dp"},
                                  {"cp", "cp"},
                                  {"moe_tp", "moe-tp"},
                                  {"ep", "ep"}}) {
    const double size = number_at(candidate, {key});
    if (size > 1) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", word, size);
  }
  return text.empty() ? "one GPU" : text;
}

std::string limit_words(const std::string& binds) {
  if (binds == "ttft") return "the time to the first token";
  if (binds == "tpot") return "the time a token takes";
  if (binds == "batch") return "the largest batch";
  return binds;
}

// Why no layout is left: the reason given most often. It need not be a limit; tables may be
// missing.
std::string why_none(const Json& sweep) {
  std::map<std::string, int> reasons;
  for (const auto& rejected : list_at(sweep, {"rejected"}))
    ++reasons[text_at(rejected, {"reason"})];
  const auto most = std::max_element(reasons.begin(), reasons.end(),
                                     [](auto& a, auto& b) { return a.second < b.second; });
  if (most == reasons.end()) return "The sweep found no layout to try.";
  return fmt::format("{} layouts were left out, {} of them for: {}.",
                     list_at(sweep, {"rejected"}).size(), most->second, most->first);
}

Json what_to_deploy(const Json& evidence) {
  constexpr auto kName = "deploy";
  constexpr auto kQuestion = "What to deploy?";
  std::string text;
  std::string detail;
  for (const auto& system : systems_of(evidence)) {
    const auto& candidates = list_at(document_of(evidence, "sweep." + system), {"candidates"});
    if (candidates.empty()) continue;
    const auto& best = candidates[0];
    const auto& estimate = document_of(evidence, "estimate." + system);
    const bool simulated = at(estimate, {"concurrency"}).is_number();
    const double at_a_time = number_at(simulated ? estimate : best, {"concurrency"});
    const double tokens_s = simulated ? number_at(estimate, {"output_tok_s_per_gpu"})
                                      : number_at(best, {"output_tok_s_per_cluster_gpu"});
    const auto line = fmt::format("{} on {} x {}: {}", text_at(best, {"backend"}),
                                  number_at(best, {"gpus"}), system, layout_words(best));
    if (text.empty()) {
      text = line;
      detail = fmt::format("{} requests at a time, {:.0f} tokens/s a GPU, limited by {}.",
                           at_a_time, tokens_s, limit_words(text_at(best, {"binds"})));
    } else {
      detail += fmt::format(" Or {}, {:.0f} tokens/s a GPU.", line, tokens_s);
    }
  }
  if (text.empty()) {
    for (const auto& system : systems_of(evidence)) {
      const auto& sweep = document_of(evidence, "sweep." + system);
      if (!sweep.is_object()) continue;
      return answer(kName, kQuestion, "No layout is left", "bad", why_none(sweep), "sweep");
    }
    return unknown(kName, kQuestion, evidence, "predict");
  }
  return answer(kName, kQuestion, text, "plain", detail, "modelled: sweep of all layouts");
}

}  // namespace

Json answers(const Json& evidence) {
  return Json::array({what_it_is(evidence), is_it_right(evidence), does_it_align(evidence),
                      how_fast(evidence), what_limits(evidence), what_to_deploy(evidence)});
}

}  // namespace dsaperf::report::integration
