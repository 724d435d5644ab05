// The first screen: six questions, each answered in a line from the documents, with its source.

#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace dsaperf::report::integration {
namespace {

Json answer(const char* name, const char* question, std::string text, const char* tone,
            std::string detail, std::string source) {
  return {{"name", name}, {"question", question},        {"answer", std::move(text)},
          {"tone", tone}, {"detail", std::move(detail)}, {"source", std::move(source)}};
}

// Why there is no answer, for people.
Json unknown(const char* name, const char* question, const Json& evidence, const char* phase) {
  std::string why = "this phase was skipped";
  for (const auto& each : list_at(evidence, {"phases"})) {
    if (text_at(each, {"name"}) == phase && !text_at(each, {"reason"}).empty()) {
      why = text_at(each, {"reason"});
    }
  }
  return answer(name, question, "not known", "unknown", why, std::string("phase ") + phase);
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
  if (const auto nearest = text_at(analyze, {"nearest", "name"}); !nearest.empty()) {
    detail += fmt::format(" Nearest: {}.", nearest);
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
      fmt::format("{} tokens against double precision, {} heads, {} new after {}.",
                  number_at(run, {"check", "tokens"}), number_at(run, {"heads"}),
                  number_at(run, {"new_tokens"}), number_at(run, {"past_tokens"})),
      fmt::format("run on {} ({})", text_at(run, {"device"}), text_at(run, {"device_name"})));
}

Json does_it_align(const Json& evidence) {
  constexpr auto kName = "align";
  constexpr auto kQuestion = "Does it align?";
  const auto& align = document_of(evidence, "align");
  if (align.is_object()) {
    const bool aligned = text_at(align, {"verdict"}) == "aligned";
    std::map<std::string, int> states;
    for (const auto& stage : list_at(align, {"stages"})) {
      if (at(stage, {"decisive"}) == true) ++states[spaced(text_at(stage, {"state"}))];
    }
    std::string detail;
    for (const auto& [state, count] : states) {
      detail += fmt::format("{}{} {}", detail.empty() ? "" : ", ", count, state);
    }
    return answer(kName, kQuestion, aligned ? "Yes" : "No", aligned ? "good" : "bad",
                  "Stages that decide: " + detail + ".",
                  text_at(align, {"mock", "file"}) + ", " + text_at(align, {"reference", "file"}));
  }
  const auto list = compare_stage_list(evidence);
  if (!list.known) return unknown(kName, kQuestion, evidence, "align");
  return answer(kName, kQuestion, list.aligned ? "Yes, with the model's list of stages" : "No",
                list.aligned ? "good" : "bad",
                fmt::format("{} stages compared. A recording of the served model (--reference) "
                            "would compare kernels.",
                            list.rows.size()),
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

Json how_fast(const Json& evidence) {
  constexpr auto kName = "speed";
  constexpr auto kQuestion = "How fast?";
  for (const auto& system : systems_of(evidence)) {
    const auto& estimate = document_of(evidence, "estimate." + system);
    const double ttft = number_at(estimate, {"ttft_ms"});
    if (!std::isfinite(ttft)) continue;
    const auto& prefills = document_of(evidence, "prefill." + system);
    const auto& decodes = document_of(evidence, "decode." + system);
    const auto prefill = fastest(prefills);
    const auto decode = fastest(decodes);
    return answer(
        kName, kQuestion,
        fmt::format("First token {}, then {} a token", duration(1e3 * ttft),
                    duration(1e3 * number_at(estimate, {"tpot_ms"}))),
        "plain",
        fmt::format("{} requests at a time on {}, {:.0f} tokens/s a GPU. One attention layer: "
                    "prefill of {} tokens {} ({}), decode of {} requests at {} tokens {} ({}).",
                    number_at(estimate, {"concurrency"}), system,
                    number_at(estimate, {"output_tok_s_per_gpu"}),
                    number_at(first_request(prefills), {"new_tokens"}), duration(prefill.first),
                    prefill.second, number_at(first_request(decodes), {"count"}),
                    number_at(first_request(decodes), {"past_tokens"}), duration(decode.first),
                    decode.second),
        "modelled: simulation of the chosen deployment; layer: AIConfigurator's tables");
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

// "indexer scores, 38 % of the bound, math"
std::string largest(const Json& stages) {
  const Json* most = nullptr;
  for (const auto& stage : list_at(stages, {"stages"})) {
    if (most == nullptr || number_at(stage, {"bound_us"}) > number_at(*most, {"bound_us"})) {
      most = &stage;
    }
  }
  if (most == nullptr) return "";
  return fmt::format("{} ({:.0f} % of the bound, {})", spaced(text_at(*most, {"name"})),
                     100 * number_at(*most, {"bound_us"}) / number_at(stages, {"bound_us"}),
                     text_at(*most, {"binds"}));
}

Json what_limits(const Json& evidence) {
  constexpr auto kName = "limits";
  constexpr auto kQuestion = "What limits it?";
  for (const auto& system : systems_of(evidence)) {
    const auto& prefill = document_of(evidence, "prefill." + system);
    const auto& decode = document_of(evidence, "decode." + system);
    if (!prefill.is_object() && !decode.is_object()) continue;
    const double bound = number_at(prefill, {"bound_us"});
    const auto table = fastest(prefill);
    auto detail = "Decode: " + largest(decode) + ".";
    if (std::isfinite(table.first)) {
      detail += fmt::format(" The fastest measured prefill ({}) takes {:.1f} times its bound.",
                            table.second, table.first / bound);
    }
    return answer(kName, kQuestion, "Prefill: " + largest(prefill), "plain", detail,
                  "bound on " + system + ": FLOPs and bytes over data/systems' peaks");
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
