#include "dsaperf/integrate/integration.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/integrate/workspace.hpp"
#include "dsaperf/report/document_value.hpp"
#include "dsaperf/report/integration.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <system_error>

namespace dsaperf::integrate {
namespace {

using report::at;
using report::number_at;
using report::text_at;
using Words = std::vector<std::string>;

constexpr std::int64_t kPrefillTokens = 4096;
// A point that the tables of each backend have measured: 2^n cached tokens, SGLang's up to this
// one.
constexpr std::int64_t kDecodeBatch = 16;
constexpr std::int64_t kDecodePast = 16384;
// Rows drawn of each population to tell how well tables predict themselves: two seconds.
constexpr int kAccuracyPoints = 120;

std::string count(double value) {
  return fmt::format("{:.0f}", value);
}

// All phases of one model. What a later phase asks depends on what an earlier one found.
class Integration {
 public:
  explicit Integration(Workspace& work) : work_(work), options_(work.options()) {}

  Result<void> run() {
    DSAPERF_TRY(in_phase("analyze", &Integration::analyze));
    DSAPERF_TRY(in_phase("run", &Integration::run_layer));
    DSAPERF_TRY(in_phase("align", &Integration::align));
    DSAPERF_TRY(in_phase("predict", &Integration::predict));
    DSAPERF_TRY(in_phase("collect", &Integration::collect));
    return in_phase("export", &Integration::export_rows);
  }

 private:
  using Phase = Result<void> (Integration::*)();

  Result<void> in_phase(std::string_view name, Phase phase) {
    work_.begin_phase(name);
    DSAPERF_TRY((this->*phase)());
    work_.end_phase();
    return {};
  }

  const Json& facts() const { return at(work_.document("analyze"), {"facts"}); }

  // Files that every command about the model reads.
  std::vector<std::filesystem::path> model_files() const {
    const auto source = text_at(work_.document("analyze"), {"source"});
    std::vector<std::filesystem::path> files = {options_.config};
    if (!source.empty()) {
      const std::filesystem::path config(source);
      files.push_back(config);
      files.push_back(config.parent_path() / "hf_quant_config.json");
      const auto stem = config.stem().native();  // P_config.json has P_hf_quant_config.json
      constexpr std::string_view kEnd = "_config";
      if (stem.ends_with(kEnd)) {
        files.push_back(config.parent_path() /
                        (stem.substr(0, stem.size() - kEnd.size()) + "_hf_quant_config.json"));
      }
    }
    return files;
  }

  int heads() const {
    if (options_.heads > 0) return options_.heads;
    constexpr int kUsual = 16;
    const double all = number_at(facts(), {"q_heads"});
    if (!(all > 0)) return kUsual;
    return std::fmod(all, kUsual) == 0 ? kUsual : static_cast<int>(all);
  }

  Words with_systems(Words words) const {
    if (!options_.systems_root.empty()) {
      words.insert(words.end(), {"--systems", options_.systems_root});
    }
    return words;
  }

  Result<void> analyze() {
    // What an earlier analysis named as its source is read before it is known again: the folder's
    // config.json decides.
    std::vector<std::filesystem::path> inputs = {options_.config};
    std::error_code error;
    if (std::filesystem::is_directory(options_.config, error)) {
      for (const char* name : {"config.json", "hf_quant_config.json"}) {
        inputs.push_back(std::filesystem::path(options_.config) / name);
      }
    }
    DSAPERF_TRY_ASSIGN(const bool done, work_.step({.name = "analyze",
                                                    .words = {"analyze", options_.config, "--json"},
                                                    .inputs = std::move(inputs),
                                                    .products = {}}));
    if (!done && !work_.outcome().failures.empty()) {
      return fail(Errc::kInvalidArgument, "{}", work_.outcome().failures.front());
    }
    if (const auto name = text_at(work_.document("analyze"), {"name"}); !name.empty()) {
      work_.set_model(name);
    }
    return {};
  }

  // On a CPU few tokens beyond top-k, so that the selection is at work and seconds are enough.
  Words shape_words() const {
    const double known = number_at(facts(), {"index_topk"});
    const auto topk = static_cast<std::int64_t>(known > 0 ? known : 2048);
    return options_.gpu ? Words{"--batch", "1", "--new",   std::to_string(kPrefillTokens),
                                "--past",  "0", "--heads", std::to_string(heads())}
                        : Words{"--batch", "1",
                                "--new",   "4",
                                "--past",  std::to_string(topk * 3 / 2),
                                "--heads", std::to_string(heads())};
  }

  Result<void> run_layer() {
    Words words = {"run", options_.config};
    for (auto& word : shape_words()) words.push_back(std::move(word));
    words.insert(words.end(), {"--device", options_.gpu ? "gpu" : "cpu", "--check", "--seconds",
                               options_.gpu ? "2" : "0", "--json"});
    DSAPERF_TRY(
        work_.step({.name = "run", .words = words, .inputs = model_files(), .products = {}}));
    return {};
  }

  Result<void> align() {
    auto mock = options_.mock;
    if (mock.empty() && options_.gpu) {
      const auto recorded = work_.path("layer.json.gz");
      Words words = {"profile", options_.config};
      for (auto& word : shape_words()) words.push_back(std::move(word));
      words.insert(words.end(), {"-o", recorded.native(), "--json"});
      DSAPERF_TRY_ASSIGN(const bool done, work_.step({.name = "profile",
                                                      .words = words,
                                                      .inputs = model_files(),
                                                      .products = {recorded}}));
      if (done) mock = recorded.native();
    }
    for (const auto& [name, file] :
         {std::pair<const char*, std::string>("reference", options_.reference), {"mock", mock}}) {
      if (file.empty()) continue;
      DSAPERF_TRY(work_.step({.name = name,
                              .words = {"trace", "show", file, "--json"},
                              .inputs = {file},
                              .products = {}}));
    }
    if (mock.empty() || options_.reference.empty()) return {};
    DSAPERF_TRY(work_.step({.name = "align",
                            .words = {"align", mock, options_.reference, "--json"},
                            .inputs = {mock, options_.reference},
                            .products = {}}));
    return {};
  }

  Result<void> predict() {
    for (const auto& system : options_.systems) {
      DSAPERF_TRY(predict_layer(system));
      DSAPERF_TRY(predict_latency(system));
    }
    for (const auto& system : options_.systems) {
      DSAPERF_TRY(predict_deployment(system));
    }
    return tell_accuracy();
  }

  Result<void> predict_layer(const std::string& system) {
    const Words prefill = {"--new", std::to_string(kPrefillTokens)};
    const Words decode = {"--phase", "generation",
                          "--batch", std::to_string(kDecodeBatch),
                          "--past",  std::to_string(kDecodePast)};
    for (const auto& [pass, shape] : {std::pair("prefill", prefill), std::pair("decode", decode)}) {
      const auto name = fmt::format("{}.{}", pass, system);
      const auto ask = [&](const std::string& as, const Words& more) -> Result<void> {
        Words words = {"query",   options_.config,        "--stages", "--system", system,
                       "--heads", std::to_string(heads())};
        words.insert(words.end(), shape.begin(), shape.end());
        words.insert(words.end(), more.begin(), more.end());
        words.emplace_back("--json");
        DSAPERF_TRY(work_.step({.name = as,
                                .words = with_systems(std::move(words)),
                                .inputs = model_files(),
                                .products = {}}));
        return {};
      };
      // The fastest of all tables says which cache is served: the bounds are of the same one.
      const auto tables = fmt::format("{}_tables.{}", pass, system);
      DSAPERF_TRY(ask(tables, {}));
      const auto* fastest = fastest_of(work_.document(tables));
      if (fastest == nullptr) {
        DSAPERF_TRY(ask(name, {}));
        continue;
      }
      DSAPERF_TRY(ask(name, {"--kv", text_at(*fastest, {"kv_cache_dtype"})}));
      Words model = {"query",
                     "--arch",
                     text_at(facts(), {"architecture"}),
                     "--system",
                     system,
                     "--backend",
                     text_at(*fastest, {"backend"}),
                     "--kv",
                     text_at(*fastest, {"kv_cache_dtype"}),
                     "--gemm",
                     text_at(*fastest, {"gemm_dtype"}),
                     "--heads",
                     std::to_string(heads())};
      model.insert(model.end(), shape.begin(), shape.end());
      model.emplace_back("--json");
      DSAPERF_TRY(work_.step({.name = fmt::format("{}_model.{}", pass, system),
                              .words = with_systems(std::move(model)),
                              .inputs = {},
                              .products = {}}));
    }
    return {};
  }

  static const Json* fastest_of(const Json& stages) {
    const Json* best = nullptr;
    for (const auto& row : at(stages, {"measured"})) {
      if (best == nullptr || number_at(row, {"latency_us"}) < number_at(*best, {"latency_us"})) {
        best = &row;
      }
    }
    return best;
  }

  // Tables to ask over context length: of the first system the fastest cache of each backend, of
  // others the fastest of all, since fitting a table for which no parameters ship takes seconds.
  std::vector<const Json*> tables_to_ask(const std::string& system) const {
    const auto& measured = at(work_.document("prefill_tables." + system), {"measured"});
    if (system != options_.systems.front()) {
      const auto* fastest = fastest_of(work_.document("prefill_tables." + system));
      return fastest == nullptr ? std::vector<const Json*>() : std::vector{fastest};
    }
    std::vector<const Json*> tables;
    for (const auto& row : measured) {
      const auto same = std::find_if(tables.begin(), tables.end(), [&](const Json* each) {
        return text_at(*each, {"backend"}) == text_at(row, {"backend"});
      });
      if (same == tables.end()) {
        tables.push_back(&row);
      } else if (number_at(row, {"latency_us"}) < number_at(**same, {"latency_us"})) {
        *same = &row;
      }
    }
    return tables;
  }

  // Context lengths that tables have measured, powers of two, to which decode adds its own token;
  // and both sides of top-k.
  std::vector<std::int64_t> lengths(bool context) const {
    std::vector<std::int64_t> list;
    for (std::int64_t n = 128; n <= (context ? 16384 : 131072); n *= 2) {
      list.push_back(context ? n : n + 1);
    }
    if (const double topk = number_at(facts(), {"index_topk"}); topk > 0) {
      const auto step = static_cast<std::int64_t>(topk);
      list.insert(list.end(), {step, step + 1, step * 3 / 2});
    }
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
  }

  // One file of questions a system.
  Result<void> predict_latency(const std::string& system) {
    const auto tables = tables_to_ask(system);
    if (tables.empty()) return {};
    CsvWriter csv;
    for (const char* column :
         {"system", "backend", "version", "architecture", "phase", "num_heads_local",
          "kv_cache_dtype", "gemm_dtype", "batch", "new_tokens_or_seq", "prefix"}) {
      csv.field(column);
    }
    csv.end_row();
    for (const auto* table : tables) {
      for (const bool context : {true, false}) {
        for (const auto length : lengths(context)) {
          csv.field(system).field(text_at(*table, {"backend"})).field(text_at(*table, {"version"}));
          csv.field(text_at(facts(), {"architecture"})).field(context ? "context" : "generation");
          csv.field(heads()).field(text_at(*table, {"kv_cache_dtype"}));
          csv.field(text_at(*table, {"gemm_dtype"})).field(context ? 1 : kDecodeBatch);
          csv.field(length).field(0);
          csv.end_row();
        }
      }
    }
    const auto questions = work_.path("documents/questions." + system + ".csv");
    const auto answers = work_.path("documents/latency." + system + ".csv");
    DSAPERF_TRY(write_file(questions, csv.text()));
    DSAPERF_TRY_ASSIGN(const bool done,
                       work_.step({.name = "questions." + system,
                                   .words = with_systems({"query", "--from", questions.native(),
                                                          "-o", answers.native(), "--json"}),
                                   .inputs = {questions},
                                   .products = {answers}}));
    if (done) work_.add_rows("latency." + system, answers);
    return {};
  }

  Result<void> predict_deployment(const std::string& system) {
    Words words = {"sweep",    options_.config,
                   "--system", system,
                   "--gpus",   std::to_string(options_.gpus),
                   "--isl",    count(options_.isl),
                   "--osl",    count(options_.osl)};
    if (options_.ttft_limit_ms > 0) {
      words.insert(words.end(), {"--ttft", fmt::format("{}", options_.ttft_limit_ms)});
    }
    if (options_.tpot_limit_ms > 0) {
      words.insert(words.end(), {"--tpot", fmt::format("{}", options_.tpot_limit_ms)});
    }
    words.emplace_back("--json");
    const auto name = "sweep." + system;
    DSAPERF_TRY(work_.step({.name = name,
                            .words = with_systems(std::move(words)),
                            .inputs = model_files(),
                            .products = {}}));
    const auto& candidates = at(work_.document(name), {"candidates"});
    if (!candidates.is_array() || candidates.empty()) return {};
    return simulate(system, candidates[0]);
  }

  // The closed form that ranks layouts knows no queue: where the simulation misses a limit, the
  // same layout is simulated with half of the requests, until it holds.
  Result<void> simulate(const std::string& system, const Json& best) {
    const auto size = [&](const char* key) { return count(number_at(best, {key})); };
    const double ranked = number_at(best, {"concurrency"});
    constexpr double kMost = 1e6;
    for (auto concurrency = ranked >= 1 && ranked <= kMost ? static_cast<std::int64_t>(ranked) : 0;
         concurrency >= 1; concurrency /= 2) {
      const auto name = fmt::format("estimate_{}.{}", concurrency, system);
      Words words = {"estimate", options_.config};
      // Of an engine's own tables; those that ship answer where no engine is named.
      if (text_at(best, {"version"}) != "shipped") {
        words.insert(words.end(), {"--backend", text_at(best, {"backend"})});
      }
      for (const auto& [flag, value] : {std::pair<const char*, std::string>("--system", system),
                                        {"--tp", size("tp")},
                                        {"--pp", size("pp")},
                                        {"--dp", size("dp")},
                                        {"--ep", size("ep")},
                                        {"--moe-tp", size("moe_tp")},
                                        {"--cp", size("cp")},
                                        {"--kv", text_at(best, {"kv"})},
                                        {"--isl", count(options_.isl)},
                                        {"--osl", count(options_.osl)},
                                        {"--concurrency", std::to_string(concurrency)}}) {
        words.insert(words.end(), {flag, value});
      }
      words.emplace_back("--json");
      DSAPERF_TRY_ASSIGN(const bool done, work_.step({.name = name,
                                                      .words = with_systems(std::move(words)),
                                                      .inputs = model_files(),
                                                      .products = {}}));
      if (!done) return {};
      auto estimate = work_.document(name);
      const auto within = [&](const char* key, double limit) {
        return limit <= 0 || number_at(estimate, {key}) <= limit;
      };
      const bool holds =
          within("ttft_ms", options_.ttft_limit_ms) && within("tpot_ms", options_.tpot_limit_ms);
      work_.add_document("estimate." + system, std::move(estimate));
      if (holds) return {};
    }
    return {};
  }

  // How well rows of the fastest backend's tables are predicted without themselves.
  Result<void> tell_accuracy() {
    for (const auto& system : options_.systems) {
      const auto* fastest = fastest_of(work_.document("prefill_tables." + system));
      if (fastest == nullptr) continue;
      const auto table = text_at(*fastest, {"backend"}) + " " + text_at(*fastest, {"version"});
      const auto rows = work_.path("documents/accuracy.csv");
      DSAPERF_TRY_ASSIGN(
          const bool done,
          work_.step({.name = "accuracy_summary",
                      .words = with_systems({"db", "loo", "--system", system, "--table",
                                             table + " context", "--table", table + " generation",
                                             "--points", std::to_string(kAccuracyPoints), "--csv",
                                             rows.native(), "--json"}),
                      .inputs = {},
                      .products = {rows}}));
      if (done) work_.add_rows("accuracy", rows);
      return {};
    }
    return {};
  }

  bool measures() const { return options_.gpu && options_.collect; }

  Result<void> collect() {
    const auto rows = work_.path("collected");
    Words words = {"collect", options_.config, "-o", rows.native(), "--grid", "standard"};
    // Where nothing was measured there is nothing to resume: the words are the same each time.
    words.emplace_back(measures() ? "--resume" : "--plan-only");
    words.emplace_back("--json");
    DSAPERF_TRY(work_.step(
        {.name = "collect", .words = std::move(words), .inputs = model_files(), .products = {}}));
    DSAPERF_TRY(work_.step({.name = "tables",
                            .words = with_systems({"db", "ls", "--json"}),
                            .inputs = {},
                            .products = {}}));
    return {};
  }

  Result<void> export_rows() {
    if (!measures() || options_.systems.empty()) return {};
    DSAPERF_TRY(work_.step(
        {.name = "export",
         .words = with_systems({"db", "export", work_.path("collected").native(),
                                "--aiconfigurator", work_.path("aiconfigurator").native(),
                                "--system", options_.systems[0], "--json"}),
         .inputs = {},
         .products = {}}));
    return {};
  }

  Workspace& work_;
  const Options& options_;
};

Result<void> write_report(Workspace& work) {
  constexpr auto kReplace = Json::error_handler_t::replace;
  const auto evidence = work.evidence();
  const auto document = report::integration_document(evidence);
  DSAPERF_TRY(write_file(work.path("report.json"), document.dump(1, ' ', false, kReplace) + "\n"));
  DSAPERF_TRY(write_file(work.path("report.md"), report::integration_markdown(document)));
  for (const auto& table : report::integration_tables(document)) {
    DSAPERF_TRY(write_file(work.path("tables") / (table.name + ".csv"), table.text));
  }
  if (const auto change = report::aiconfigurator_change(evidence)) {
    DSAPERF_TRY(write_file(work.path("aiconfigurator.md"), *change));
  }
  work.outcome().page = work.path("report.html");
  DSAPERF_TRY(write_file(work.outcome().page, report::integration_page(document)));
  work.outcome().text = report::integration_text(document);
  return {};
}

}  // namespace

Result<Outcome> integrate(const Options& options, CommandRunner& runner, const Watcher& watcher) {
  for (const auto& phase : options.skipped) {
    if (std::find(kPhases.begin(), kPhases.end(), phase) == kPhases.end()) {
      return fail(Errc::kInvalidArgument, "no phase '{}'; there are {}", phase,
                  fmt::join(kPhases, ", "));
    }
  }
  // Hours of a collection, or a report that compares nothing, are a high price for a misspelt name.
  for (const auto& recording : {options.reference, options.mock}) {
    if (!recording.empty()) DSAPERF_TRY(check_data_file(recording));
  }
  Workspace work(options, runner, watcher);
  DSAPERF_TRY(Integration(work).run());
  DSAPERF_TRY(write_report(work));
  return std::move(work.outcome());
}

}  // namespace dsaperf::integrate
