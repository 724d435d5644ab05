#include "dsaperf/serving/estimate_file.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/lower_case.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/serving/load_clients.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

namespace dsaperf::serving {
namespace {

constexpr std::string_view kDisaggregated = "disagg";
// Kept of one draft token where a row only says that speculation was on.
constexpr double kDraftKept = 0.75;

// "64", "inf(500 at once)", "rate 10, 100 prompts".
bool read_load(const std::string& text, EstimateInputs& inputs) {
  if (const auto plain = parse_double(text)) {
    inputs.concurrency = plain;
    return *plain > 0;
  }
  const auto digits = [&](std::size_t from) {
    const auto begin = text.find_first_of("0123456789", from);
    const auto end = text.find_first_not_of("0123456789.", begin);
    return begin == std::string::npos ? std::nullopt
                                      : parse_double(text.substr(begin, end - begin));
  };
  if (text.starts_with("inf(")) {
    inputs.concurrency = digits(0);
    if (inputs.concurrency) inputs.prompts = static_cast<int>(*inputs.concurrency);
    return inputs.concurrency.has_value();
  }
  if (text.starts_with("rate ")) {
    inputs.rate_per_s = digits(0);
    if (const auto prompts = digits(text.find(','))) inputs.prompts = static_cast<int>(*prompts);
    return inputs.rate_per_s.has_value();
  }
  return false;
}

// "median" is of both; "ttft mean, tpot p99" names each. Nothing, or doubt ("median?"), is a mean:
// what load generators print first.
double statistic(const Percentiles& values, std::string_view stat, std::string_view metric) {
  const auto named = stat.find(metric);
  if (named != std::string_view::npos) {
    stat.remove_prefix(named + metric.size());
    stat = stat.substr(0, stat.find(','));
    stat.remove_prefix(std::min(stat.find_first_not_of(' '), stat.size()));
  }
  if (stat == "median" || stat == "p50") return values.p50;
  if (stat == "p90") return values.p90;
  if (stat == "p99") return values.p99;
  return values.mean;
}

// A release of vLLM, and the month from which nightlies hold it.
struct VllmRelease {
  double minor = 0;
  std::string_view month;
};
// Before, it used less of the memory by itself.
constexpr VllmRelease kMoreMemory = {.minor = 20, .month = "2026-04"};
constexpr double kOlderVllmFraction = 0.9;
// From here on its sparse attention is told how many rows a token has (topk_length of FlashMLA,
// pull request 36616).
constexpr VllmRelease kRowCounts = {.minor = 23, .month = "2026-06"};

// "0.13.0", "nightly-2026-02-13".
bool is_before(std::string_view version, const VllmRelease& release) {
  constexpr std::string_view kNightly = "nightly-";
  if (version.starts_with(kNightly)) return version.substr(kNightly.size()) < release.month;
  const auto minor = version.starts_with("0.") ? parse_double(version.substr(2, 2)) : std::nullopt;
  return minor && *minor < release.minor;
}

class FileReader {
 public:
  FileReader(const EstimateInputs& settings, const OpenSystem& open)
      : settings_(settings), open_(open) {}

  Result<FileEstimate> run(const std::filesystem::path& path) {
    DSAPERF_TRY_ASSIGN(clients_, load_clients());
    DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
    DSAPERF_TRY_ASSIGN(const bool header, csv.next());
    if (!header) return fail(Errc::kParse, "{}: no header", path.native());
    for (std::size_t i = 0; i < csv.fields().size(); ++i) {
      column_.emplace(csv.fields()[i], i);
      writer_.field(csv.fields()[i]);
    }
    for (const char* needed :
         {"model", "precision", "gpu", "framework", "mode", "isl", "osl", "concurrency"})
      if (!column_.contains(needed))
        return fail(Errc::kParse, "{}: no column '{}'", path.native(), needed);
    for (const char* added :
         {"estimated_ttft_ms", "estimated_tpot_ms", "estimated_tok_s", "estimated_error"})
      writer_.field(added);
    writer_.end_row();
    while (true) {
      DSAPERF_TRY_ASSIGN(const bool more, csv.next());
      if (!more) break;
      for (const auto field : csv.fields()) writer_.field(field);
      for (std::size_t i = csv.fields().size(); i < column_.size(); ++i) writer_.field("");
      DSAPERF_TRY(take(path, csv));
    }
    out_.errors = summarise();
    out_.csv = writer_.text();
    return std::move(out_);
  }

 private:
  std::string text(const CsvReader& csv, const char* name) const {
    const auto found = column_.find(name);
    return found == column_.end() ? "" : std::string(csv.field(found->second));
  }

  Result<void> take(const std::filesystem::path& path, const CsvReader& csv) {
    MeasuredRow row{.model = text(csv, "model"),
                    .precision = text(csv, "precision"),
                    .gpu = text(csv, "gpu"),
                    .framework = text(csv, "framework"),
                    .mode = text(csv, "mode"),
                    .source = text(csv, "source"),
                    .stat = text(csv, "stat"),
                    .ttft_ms = {},
                    .tpot_ms = {},
                    .inputs = settings_,
                    .left_out = {},
                    .estimated_ttft_ms = {},
                    .estimated_tpot_ms = {},
                    .estimated_tok_s = {},
                    .assumed = {}};
    row.ttft_ms = parse_double(text(csv, "ttft_ms"));
    row.tpot_ms = parse_double(text(csv, "tpot_ms"));
    DSAPERF_TRY(read_requests_said(path, csv, row.inputs));
    row.left_out = read(csv, row);
    if (row.left_out.empty()) {
      const auto done = answer(row);
      if (!done) row.left_out = done.error().message();
    }
    for (const auto& value : {row.estimated_ttft_ms, row.estimated_tpot_ms, row.estimated_tok_s})
      value ? writer_.field(*value) : writer_.field("");
    writer_.field(row.left_out);
    writer_.end_row();
    out_.rows.push_back(std::move(row));
    return {};
  }

  // What a row says of its client's requests: goes before what is known of its source.
  Result<void> read_requests_said(const std::filesystem::path& path, const CsvReader& csv,
                                  EstimateInputs& in) const {
    const std::string ratio = text(csv, "length_ratio");
    DSAPERF_TRY_ASSIGN(const auto length_ratio,
                       read_length_ratio({path, csv.line(), "length_ratio", ratio}));
    if (length_ratio) in.length_ratio = length_ratio;
    const std::string repeated = text(csv, "repeated_prompts");
    DSAPERF_TRY_ASSIGN(in.repeated_prompts,
                       read_requests({path, csv.line(), "repeated_prompts", repeated}, 0));
    return {};
  }

  // Empty, or why the row cannot be expressed.
  std::string read(const CsvReader& csv, MeasuredRow& row) const {
    const bool disaggregated = row.mode.starts_with(kDisaggregated);
    if (row.mode != "agg" && !disaggregated)
      return "neither aggregated nor disaggregated: " + row.mode;
    if (row.gpu.find_first_of(" (,") != std::string::npos)
      return "the card is not plain: " + row.gpu;
    const auto engine = engine_from_name(row.framework);
    if (!engine) return engine.error().message();
    auto& in = row.inputs;
    in.engine = *engine;
    if (!read_load(text(csv, "concurrency"), in))
      return "the concurrency is not plain: " + text(csv, "concurrency");
    in.isl = parse_double(text(csv, "isl")).value_or(0);
    in.osl = parse_double(text(csv, "osl")).value_or(0);
    const auto size = [&](const char* name) {
      return static_cast<int>(parse_double(text(csv, name)).value_or(0));
    };
    const int gpus = size("n_gpus");
    if (disaggregated) {
      if (auto why = read_workers(csv, row); !why.empty()) return why;
    } else {
      auto& l = in.layout;
      l.tp = size("tp");
      l.dp = std::max(size("dp"), 1);
      l.moe_ep = std::max(size("ep"), 1);
      if (l.tp == 0) {
        l.tp = std::max(gpus, 1);
        row.assumed.push_back("tp = n_gpus");
      }
      // SGLang's tp counts the ranks of all data-parallel groups.
      if (in.engine == Engine::kSglang && l.dp > 1 && l.tp * l.dp > gpus && l.tp % l.dp == 0)
        l.tp /= l.dp;
      if (l.tp * l.dp % l.moe_ep != 0) return "tp * dp does not divide by ep";
      l.moe_tp = l.tp * l.dp / l.moe_ep;
    }
    const auto client = std::ranges::find_if(
        clients_, [&](const LoadClient& known) { return row.source.starts_with(known.source); });
    if (client != clients_.end()) assume_requests(*client, row);
    if (in.engine == Engine::kVllm) read_vllm_version(text(csv, "version"), row);
    if (text(csv, "mtp") == "1" && in.draft_tokens == 0) {
      in.draft_tokens = 1;
      in.draft_kept = kDraftKept;
      row.assumed.push_back(fmt::format("one draft token, {} of it kept", kDraftKept));
    }
    return "";
  }

  static void assume_requests(const LoadClient& client, MeasuredRow& row) {
    auto& in = row.inputs;
    if (!in.length_ratio && client.length_ratio) {
      in.length_ratio = client.length_ratio;
      row.assumed.push_back(
          *in.length_ratio == 1
              ? "equal lengths"
              : fmt::format("lengths from {} of isl and osl up to all of it", *in.length_ratio));
    }
    const int before = client.places_before(in.concurrency.value_or(0));
    if (in.repeated_prompts || client.cached_by != in.engine || before == 0) return;
    in.repeated_prompts = client.prompts_a_place * before;
    row.assumed.push_back(
        fmt::format("prompts of the run before, {} at a time, cached if they all fit", before));
  }

  static void read_vllm_version(std::string_view version, MeasuredRow& row) {
    auto& in = row.inputs;
    if (!in.memory_fraction && is_before(version, kMoreMemory)) {
      in.memory_fraction = kOlderVllmFraction;
      row.assumed.push_back("gpu_memory_utilization 0.9, the default of its time");
    }
    if (is_before(version, kRowCounts)) {
      in.age = EngineAge::kOlder;
      row.assumed.push_back("attention that computes whole selections, as it did then");
    }
  }

  // "disagg 2P+1D" with sizes "4/8": of a prefill and of a decode worker (one number: of both).
  std::string read_workers(const CsvReader& csv, MeasuredRow& row) const {
    const auto count = [&](char kind) {
      const auto end = row.mode.find(kind, kDisaggregated.size());
      if (end == std::string::npos) return 0;
      const auto begin = row.mode.find_last_not_of("0123456789", end - 1) + 1;
      return static_cast<int>(parse_double(row.mode.substr(begin, end - begin)).value_or(0));
    };
    auto& in = row.inputs;
    in.mode = Mode::kDisaggregated;
    in.prefill.count = count('P');
    in.decode.count = count('D');
    if (in.prefill.count < 1 || in.decode.count < 1)
      return "disaggregated, and the numbers of workers are not stated: " + row.mode;
    const auto size = [&](const char* name, bool decode) {
      const std::string pair = text(csv, name);
      const auto slash = pair.find('/');
      const auto part = slash == std::string::npos ? pair
                        : decode                   ? pair.substr(slash + 1)
                                                   : pair.substr(0, slash);
      return std::max(static_cast<int>(parse_double(part).value_or(0)), 1);
    };
    for (Workers* workers : {&in.prefill, &in.decode}) {
      const bool decode = workers == &in.decode;
      auto& l = workers->layout;
      l.tp = size("tp", decode);
      l.dp = size("dp", decode);
      l.moe_ep = size("ep", decode);
      if (l.tp * l.dp % l.moe_ep != 0) return "tp * dp does not divide by ep";
      l.moe_tp = l.tp * l.dp / l.moe_ep;
    }
    return "";
  }

  Result<void> answer(MeasuredRow& row) {
    DSAPERF_TRY_ASSIGN(const auto name, bundled_name(row.model, row.precision));
    auto spec = models_.find(name);
    if (spec == models_.end()) {
      DSAPERF_TRY_ASSIGN(auto loaded, model::load_model(name));
      spec = models_.emplace(name, std::move(loaded)).first;
    }
    const auto key = std::pair(row.gpu, row.inputs.engine);
    auto set = sets_.find(key);
    if (set == sets_.end()) {
      DSAPERF_TRY_ASSIGN(auto opened, open_(row.gpu, row.inputs.engine));
      set = sets_.emplace(key, std::move(opened)).first;
    }
    DSAPERF_TRY_ASSIGN(const auto result, estimate(spec->second, set->second, row.inputs));
    if (!result.fits) return fail(Errc::kOutOfMemory, "{}", result.reason);
    row.estimated_ttft_ms = result.ttft_ms;
    row.estimated_tpot_ms = result.tpot_ms;
    if (result.simulation) {
      row.estimated_ttft_ms = statistic(result.simulation->ttft_ms, row.stat, "ttft");
      row.estimated_tpot_ms = statistic(result.simulation->tpot_ms, row.stat, "tpot");
    }
    row.estimated_tok_s = result.output_tok_s;
    return {};
  }

  std::vector<ErrorSummary> summarise() const {
    struct Sums {
      int ttft_rows = 0, tpot_rows = 0;
      double ttft = 0, tpot = 0;
    };
    std::map<std::string, Sums> groups;
    for (const MeasuredRow& row : out_.rows) {
      if (!row.left_out.empty()) continue;
      for (const auto& group :
           {std::string("all"), row.gpu, row.gpu + " " + row.framework + " " + row.precision}) {
        Sums& sums = groups[group];
        if (row.ttft_ms && row.estimated_ttft_ms) {
          sums.ttft += std::abs(*row.estimated_ttft_ms / *row.ttft_ms - 1);
          ++sums.ttft_rows;
        }
        if (row.tpot_ms && row.estimated_tpot_ms) {
          sums.tpot += std::abs(*row.estimated_tpot_ms / *row.tpot_ms - 1);
          ++sums.tpot_rows;
        }
      }
    }
    std::vector<ErrorSummary> errors;
    for (const auto& [group, sums] : groups)
      errors.push_back({.group = group,
                        .rows = std::max(sums.ttft_rows, sums.tpot_rows),
                        .ttft = sums.ttft_rows > 0 ? sums.ttft / sums.ttft_rows : 0,
                        .tpot = sums.tpot_rows > 0 ? sums.tpot / sums.tpot_rows : 0});
    return errors;
  }

  const EstimateInputs& settings_;
  const OpenSystem& open_;
  std::vector<LoadClient> clients_;
  std::map<std::string, std::size_t> column_;
  std::map<std::string, model::ModelSpec> models_;
  std::map<std::pair<std::string, Engine>, predict::compatible::OperatorSet> sets_;
  CsvWriter writer_;
  FileEstimate out_;
};

}  // namespace

Result<std::string> bundled_name(const std::string& model, const std::string& precision) {
  DSAPERF_TRY_ASSIGN(const auto names, model::bundled_models());
  const auto last = [](const std::string& name) {
    return lower_case(name.substr(name.find('/') + 1));
  };
  const std::string asked = lower_case(model.substr(model.find('/') + 1));
  const std::string suffix = precision == "fp4" ? "-nvfp4" : "-" + lower_case(precision);
  // A point release or an "-Exp" of a model has its shape: "GLM-5.1" is asked as GLM-5.
  std::string base = asked;
  if (base.ends_with("-exp")) base.resize(base.size() - 4);
  if (base == "glm-5.1") base = "glm-5";
  for (const auto& wanted : {asked + suffix, base + suffix, asked, base})
    for (const auto& name : names)
      if (last(name) == wanted) return name;
  return fail(Errc::kNotFound, "no bundled model for {} in {}", model, precision);
}

Result<FileEstimate> estimate_file(const std::filesystem::path& path,
                                   const EstimateInputs& settings, const OpenSystem& open) {
  return FileReader(settings, open).run(path);
}

}  // namespace dsaperf::serving
