#include "bench.hpp"

#include "document.hpp"
#include "dsaperf/bench/cases.hpp"
#include "dsaperf/bench/measure.hpp"
#include "dsaperf/bench/tune.hpp"
#include "dsaperf/bench/watchdog.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/report/bench.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

using kernels::TunedShape;
using Clock = std::chrono::steady_clock;

constexpr Bytes kMostDocument{64 << 20};
constexpr int kPlanSms = 132;  // of an H100 or H200, where there is no GPU to ask

struct BenchOptions {
  std::vector<std::string> kernels;
  std::string table;   // written by --tune; empty: where the kernels look for it
  std::string output;  // the document, written anew after each shape
  std::string commit = "unknown";
  double seconds = 1e9;
  double stall_seconds = 20;
  std::vector<std::string> without;  // variants
  bool tune = false;
  bool plan_only = false;
  bool quick = false;
  bool json = false;
};

struct CompareOptions {
  std::string base, now;
  bool json = false;
};

std::vector<TunedShape> chosen_shapes(const BenchOptions& options) {
  auto shapes = bench::shapes();
  if (!options.kernels.empty())
    std::erase_if(shapes, [&](const TunedShape& shape) {
      return std::ranges::find(options.kernels, kernels::name(shape.kernel)) ==
             options.kernels.end();
    });
  return shapes;
}

// The lowest time that the peaks of the card's data sheet allow.
std::optional<Micros> bound_of(const TunedShape& shape,
                               const std::optional<cost::SystemSpec>& system) {
  if (!system || system->hbm_bytes_per_s <= 0) return std::nullopt;
  const bench::Demand demand = bench::demand_of(shape);
  const auto peak =
      system->peak(demand.fp8_math ? cost::MathFormat::kFp8 : cost::MathFormat::kBf16);
  const double moving = static_cast<double>(demand.bytes.value) / system->hbm_bytes_per_s;
  const double computing = peak ? demand.flops.value / *peak : 0;
  return Micros{1e6 * std::max(moving, computing)};
}

std::optional<cost::SystemSpec> system_of(const std::string& device) {
  const auto card = kernels::card_of_device(device);
  const auto data = data_dir();
  if (!card || !data) return std::nullopt;
  auto system = cost::find_system(*data, *card);
  return system ? std::optional(*std::move(system)) : std::nullopt;
}

Result<std::string> table_path(const BenchOptions& options, const std::string& device) {
  if (!options.table.empty()) return options.table;
  const auto card = kernels::card_of_device(device);
  if (!card)
    return fail(Errc::kUnsupported, "bench: {} has no tuning table; name a file with --table",
                device);
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  return (data / "tuning" / (*card + ".json")).native();
}

void show(const BenchOptions& options, const report::BenchReport& report) {
  if (options.json)
    print_document(report::json(report));
  else
    std::fputs(report::text(report, TextStyle::of_descriptor(1)).c_str(), stdout);
}

Result<ExitCode> plan(const BenchOptions& options) {
  auto cases = nlohmann::ordered_json::array();
  TextTable table({{.title = "kernel"}, {.title = "shape"}, {.title = "variants"}});
  for (const TunedShape& shape : chosen_shapes(options)) {
    std::vector<std::string> names;
    for (const auto variant : kernels::variants_of(shape, kPlanSms))
      names.emplace_back(kernels::name(variant));
    cases.push_back({{"kernel", kernels::name(shape.kernel)},
                     {"shape", bench::label(shape)},
                     {"variants", names}});
    table.add_row({std::string(kernels::name(shape.kernel)), bench::label(shape),
                   fmt::format("{}", fmt::join(names, " "))});
  }
  if (options.json)
    print_document(nlohmann::ordered_json{{"format", "dsaperf.bench_plan.1"},
                                          {"sm_count", kPlanSms},
                                          {"cases", std::move(cases)},
                                          {"warnings", nlohmann::ordered_json::array()}});
  else
    std::fputs(table.str(TextStyle::of_descriptor(1)).c_str(), stdout);
  return ExitCode::kDone;
}

// Nothing of CUDA returns after a kernel that never ends, so the program ends here.
[[noreturn]] void give_up(const BenchOptions& options, const std::string& variant) {
  std::string without = fmt::format("{}", fmt::join(options.without, ","));
  if (variant != kernels::name(kernels::Variant::kDefault))
    without += (without.empty() ? "" : ",") + variant;
  std::fprintf(stderr,
               "error: bench: %s did not end within %g s (--stall-seconds); what was measured "
               "before is written; to go on without it: --without %s\n",
               variant.c_str(), options.stall_seconds, without.c_str());
  std::_Exit(static_cast<int>(ExitCode::kFailed));
}

std::string title_of(const TunedShape& shape) {
  return fmt::format("{} {}", kernels::name(shape.kernel), bench::label(shape));
}

// What was measured of a shape, with a warning of each variant whose result is wrong. `place`: of
// the shape among all, "  3/120", for the progress on stderr.
void add_rows(const TunedShape& shape, const std::string& place,
              const std::vector<bench::Timing>& measured,
              const std::optional<cost::SystemSpec>& system, report::BenchReport& report) {
  const auto title = title_of(shape);
  for (const bench::Timing& timing : measured) {
    report.rows.push_back({.kernel = std::string(kernels::name(shape.kernel)),
                           .shape = bench::label(shape, timing.values),
                           .variant = std::string(kernels::name(timing.variant)),
                           .cold = timing.cold,
                           .warm = timing.warm,
                           .spread = timing.spread,
                           .bound = bound_of(shape, system),
                           .right = timing.right});
    if (!timing.right)
      report.warnings.push_back(fmt::format("{}: the result of {} is not the default's", title,
                                            kernels::name(timing.variant)));
    std::fprintf(stderr, "%s %-40s %-20s cold %9.2f us  warm %9.2f us%s\n", place.c_str(),
                 title.c_str(), report.rows.back().variant.c_str(), timing.cold.value,
                 timing.warm.value, timing.right ? "" : "  DIFFERS");
  }
}

// Clocks while it works, not before, and once each what slowed it down.
void note_card(report::BenchReport& report) {
  const auto now = bench::card();
  if (!now) return;
  report.sm_mhz = now->sm_mhz;
  report.sm_mhz_max = now->sm_mhz_max;
  for (const auto& reason : now->throttled) {
    const auto warning = fmt::format("slowed down: {}", reason);
    if (std::ranges::find(report.warnings, warning) == report.warnings.end())
      report.warnings.push_back(warning);
  }
}

Result<ExitCode> bench_kernels(const BenchOptions& options) {
  if (options.plan_only) return plan(options);
  DSAPERF_TRY_ASSIGN(const auto card, bench::card());
  std::string path;
  if (options.tune) {
    DSAPERF_TRY_ASSIGN(path, table_path(options, card.device));
  }
  const auto system = system_of(card.device);
  report::BenchReport report{.device = card.device,
                             .sm_count = card.sm_count,
                             .power_limit_w = card.power_limit_w,
                             .commit = options.commit};
  if (system)
    report.bound_source = fmt::format("datasheet peaks of {} (data/systems)", system->name);
  std::vector<bench::Timing> timings;
  bench::Watchdog watchdog(std::chrono::duration<double>(options.stall_seconds),
                           [&options](const std::string& variant) { give_up(options, variant); });
  bench::MeasureOptions measuring{.quick = options.quick,
                                  .all_variants = options.tune,
                                  .begins = [&](kernels::Variant variant) {
                                    watchdog.begin(std::string(kernels::name(variant)));
                                  }};
  for (const auto& name : options.without)
    measuring.without.push_back(*kernels::variant_from_name(name));
  const auto started = Clock::now();
  const auto shapes = chosen_shapes(options);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const TunedShape& shape = shapes[i];
    const std::string title = title_of(shape);
    const std::chrono::duration<double> elapsed = Clock::now() - started;
    if (elapsed.count() > options.seconds) {
      report.left_out.push_back(title);
      continue;
    }
    const auto measured = bench::measure(shape, measuring);
    watchdog.end();
    if (!measured) {
      report.left_out.push_back(title);
      report.warnings.push_back(fmt::format("{}: {}", title, measured.error().message()));
      // After an error of the device nothing that follows can be believed.
      if (measured.error().code() == Errc::kCuda) break;
      continue;
    }
    add_rows(shape, fmt::format("{:4}/{}", i + 1, shapes.size()), *measured, system, report);
    timings.insert(timings.end(), measured->begin(), measured->end());
    note_card(report);
    // After each shape, so that what is cut short leaves what it has measured.
    if (!options.output.empty())
      DSAPERF_TRY(write_file(options.output, report::json(report).dump(1) + "\n"));
    if (options.tune)
      DSAPERF_TRY(
          write_file(path, kernels::to_json(bench::make_table(card, options.commit, timings))));
  }
  for (const auto& warning : report.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (options.tune) std::fprintf(stderr, "wrote %s\n", path.c_str());
  show(options, report);
  const bool wrong = std::ranges::any_of(
      report.rows, [](const report::BenchRow& row) { return row.right && !*row.right; });
  return wrong ? ExitCode::kVerdictNo : ExitCode::kDone;
}

Result<report::BenchReport> read_document(const std::string& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kMostDocument));
  return report::parse_bench(text).map_error(
      [&](Error error) { return std::move(error).with_context(path); });
}

Result<ExitCode> compare_runs(const CompareOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto base, read_document(options.base));
  DSAPERF_TRY_ASSIGN(const auto now, read_document(options.now));
  const auto comparison = report::compare(base, now);
  for (const auto& warning : comparison.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (options.json)
    print_document(report::json(comparison));
  else
    std::fputs(report::text(comparison, TextStyle::of_descriptor(1)).c_str(), stdout);
  return comparison.count(report::BenchComparison::State::kSlower) > 0 ? ExitCode::kVerdictNo
                                                                       : ExitCode::kDone;
}

void declare_compare(Command& command) {
  auto options = std::make_shared<CompareOptions>();
  command.add_option("BASE", options->base, "Document of dsaperf bench -o").required();
  command.add_option("NEW", options->now, "A later one").required();
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Exit code 3 where anything is slower.\n"
      "Example:\n  dsaperf bench compare before.json after.json");
  command.callback([options] { return compare_runs(*options); });
}

void declare_bench(Command& command) {
  auto options = std::make_shared<BenchOptions>();
  command.add_option("--only", options->kernels, "Kernels, comma separated (default: all)")
      .delimiter(',')
      .one_of(
          {"sparse_prefill", "sparse_decode", "scores", "paged_scores", "topk", "paged_select"});
  const auto tune = command.add_flag(
      "--tune", options->tune,
      "Time every variant and write the table that chooses among them on this card");
  command
      .add_option("--table", options->table,
                  "File of the table (default: data/tuning/CARD.json, where the kernels read it)")
      .needs(tune);
  command.add_option("-o,--output", options->output,
                     "Write the JSON document here, anew after each shape");
  command.add_option("--commit", options->commit, "Revision, for the record").show_default();
  command.add_option("--seconds", options->seconds, "Time for all; shapes beyond it are left out")
      .positive();
  command
      .add_option("--without", options->without,
                  "Variants that are not tried, comma separated (not the default)")
      .delimiter(',')
      .check([](const std::string& text) {
        const auto variant = kernels::variant_from_name(text);
        return variant && *variant != kernels::Variant::kDefault
                   ? std::string()
                   : fmt::format("no variant \"{}\" beside the default", text);
      })
      .needs(tune);
  command
      .add_option("--stall-seconds", options->stall_seconds,
                  "A variant that takes longer at one shape ends the program, which names it")
      .show_default()
      .positive();
  command.add_flag("--quick", options->quick, "Fewer samples");
  command.add_flag("--plan-only", options->plan_only,
                   "Show shapes and variants, measure nothing; needs no GPU");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Exit code 3 where a variant's result is not the default's.\n"
      "Example:\n  dsaperf bench --tune --only topk -o bench.json\n"
      "  dsaperf bench compare before.json bench.json");
  command.callback([options] { return bench_kernels(*options); });
  command.add_command("compare",
                      "What is faster or slower than in an earlier run, beyond the noise of both",
                      declare_compare);
}

}  // namespace

void add_bench(Command& app) {
  app.add_command("bench",
                  "Time the GPU kernels against their bounds; write the table of variants by shape",
                  declare_bench);
}

}  // namespace dsaperf::tool
