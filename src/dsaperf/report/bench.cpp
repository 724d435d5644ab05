#include "dsaperf/report/bench.hpp"

#include "dsaperf/core/fail.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

namespace dsaperf::report {
namespace {

using Align = TextTable::Align;
using State = BenchComparison::State;
using nlohmann::ordered_json;

constexpr std::string_view kFormat = "dsaperf.bench.1";
constexpr double kLeastNoise = 0.01;

std::string micros(Micros time) {
  return fmt::format("{:.2f}", time.value);
}

ordered_json optional_us(const std::optional<Micros>& time) {
  return time ? ordered_json(time->value) : ordered_json(nullptr);
}

// A field of a document that another program may have written.
template <typename T>
T field(const nlohmann::json& object, const char* key, T otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->get<T>() : otherwise;
  } else {
    return found->is_number() ? found->get<T>() : otherwise;
  }
}

Result<BenchRow> parse_row(const nlohmann::json& object) {
  if (!object.is_object()) return fail(Errc::kParse, "an object is needed");
  BenchRow row{.kernel = field(object, "kernel", std::string()),
               .shape = field(object, "shape", std::string()),
               .variant = field(object, "variant", std::string()),
               .cold = {field(object, "cold_us", 0.0)},
               .warm = {field(object, "warm_us", 0.0)},
               .spread = field(object, "spread", 0.0)};
  if (row.kernel.empty() || row.shape.empty() || row.variant.empty())
    return fail(Errc::kParse, "kernel, shape and variant are needed");
  if (!(row.warm.value > 0) || !(row.cold.value > 0) || !(row.spread >= 0))
    return fail(Errc::kParse, "cold_us {}, warm_us {}, spread {}", row.cold.value, row.warm.value,
                row.spread);
  if (const auto right = object.find("right"); right != object.end() && right->is_boolean())
    row.right = right->get<bool>();
  if (const double bound = field(object, "bound_us", 0.0); bound > 0) row.bound = Micros{bound};
  return row;
}

}  // namespace

std::string text(const BenchReport& report, const TextStyle& style) {
  std::string out = fmt::format("{}, {} SMs", report.device, report.sm_count);
  if (report.sm_mhz_max > 0)
    out += fmt::format(", {} of {} MHz, {:.0f} W", report.sm_mhz, report.sm_mhz_max,
                       report.power_limit_w);
  out += fmt::format(", commit {}\n\n", report.commit);
  TextTable table({{.title = "kernel"},
                   {.title = "shape"},
                   {.title = "variant"},
                   {.title = "cold us", .align = Align::kRight},
                   {.title = "warm us", .align = Align::kRight},
                   {.title = "+-", .align = Align::kRight},
                   {.title = "of bound", .align = Align::kRight},
                   {.title = "result"}});
  for (const BenchRow& row : report.rows) {
    const bool wrong = row.right && !*row.right;
    table.add_row({row.kernel,
                   row.shape,
                   row.variant,
                   micros(row.cold),
                   micros(row.warm),
                   fmt::format("{:.0f} %", 100 * row.spread),
                   row.bound ? fmt::format("{:.0f} %", 100 * (*row.bound / row.warm)) : "-",
                   {wrong       ? "DIFFERS"
                    : row.right ? "same"
                                : "-",
                    wrong ? Tone::kBad : Tone::kPlain}});
  }
  out += table.str(style);
  if (!report.bound_source.empty()) out += fmt::format("\nBound: {}.\n", report.bound_source);
  if (!report.left_out.empty())
    out += fmt::format("\n{} shapes without a time, the first: {}\n", report.left_out.size(),
                       report.left_out.front());
  return out;
}

nlohmann::ordered_json json(const BenchReport& report) {
  auto rows = ordered_json::array();
  for (const BenchRow& row : report.rows)
    rows.push_back({{"kernel", row.kernel},
                    {"shape", row.shape},
                    {"variant", row.variant},
                    {"cold_us", row.cold.value},
                    {"warm_us", row.warm.value},
                    {"spread", row.spread},
                    {"bound_us", optional_us(row.bound)},
                    {"right", row.right ? ordered_json(*row.right) : ordered_json(nullptr)}});
  return {{"format", kFormat},
          {"device", report.device},
          {"sm_count", report.sm_count},
          {"clocks", {{"sm_mhz", report.sm_mhz}, {"sm_max_mhz", report.sm_mhz_max}}},
          {"power_limit_w", report.power_limit_w},
          {"commit", report.commit},
          {"bound_source", report.bound_source},
          {"rows", std::move(rows)},
          {"left_out", report.left_out},
          {"warnings", report.warnings}};
}

Result<BenchReport> parse_bench(std::string_view text) {
  const auto document = nlohmann::json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(Errc::kParse, "not a JSON document of dsaperf bench");
  const auto format = field(document, "format", std::string());
  if (format != kFormat)
    return fail(Errc::kUnsupported, "format \"{}\"; this program reads {}", format, kFormat);
  BenchReport report{.device = field(document, "device", std::string()),
                     .sm_count = field(document, "sm_count", 0),
                     .power_limit_w = field(document, "power_limit_w", 0.0),
                     .commit = field(document, "commit", std::string()),
                     .bound_source = field(document, "bound_source", std::string())};
  if (const auto clocks = document.find("clocks");
      clocks != document.end() && clocks->is_object()) {
    report.sm_mhz = field(*clocks, "sm_mhz", 0);
    report.sm_mhz_max = field(*clocks, "sm_max_mhz", 0);
  }
  const auto rows = document.find("rows");
  if (rows == document.end() || !rows->is_array())
    return fail(Errc::kParse, "rows: a list is needed");
  std::set<std::tuple<std::string, std::string, std::string>> seen;
  for (const auto& object : *rows) {
    auto row = parse_row(object).map_error([&](Error error) {
      return std::move(error).with_context("row " + std::to_string(report.rows.size()));
    });
    if (!row) return tl::unexpected(std::move(row).error());
    if (!seen.emplace(row->kernel, row->shape, row->variant).second)
      return fail(Errc::kParse, "row {}: {} {} {} is there twice", report.rows.size(), row->kernel,
                  row->shape, row->variant);
    report.rows.push_back(*std::move(row));
  }
  return report;
}

int BenchComparison::count(State state) const {
  return static_cast<int>(
      std::ranges::count_if(rows, [&](const Row& row) { return row.state == state; }));
}

std::string_view name(State state) {
  constexpr std::array kNames = {std::string_view("faster"), std::string_view("slower"),
                                 std::string_view("same"), std::string_view("only_base"),
                                 std::string_view("only_new")};
  return kNames.at(static_cast<std::size_t>(state));
}

BenchComparison compare(const BenchReport& base, const BenchReport& now) {
  BenchComparison out{.base_device = base.device, .new_device = now.device};
  if (base.device != now.device || base.sm_count != now.sm_count)
    out.warnings.push_back(fmt::format("other cards: {} ({} SMs) and {} ({} SMs)", base.device,
                                       base.sm_count, now.device, now.sm_count));
  if (base.power_limit_w != now.power_limit_w)
    out.warnings.push_back(fmt::format("other power limits: {:.0f} W and {:.0f} W",
                                       base.power_limit_w, now.power_limit_w));
  const auto same_row = [](const BenchRow& a) {
    return [&a](const BenchRow& b) {
      return a.kernel == b.kernel && a.shape == b.shape && a.variant == b.variant;
    };
  };
  for (const BenchRow& row : base.rows) {
    BenchComparison::Row line{.kernel = row.kernel,
                              .shape = row.shape,
                              .variant = row.variant,
                              .state = State::kOnlyBase,
                              .base = row.warm};
    const auto other = std::ranges::find_if(now.rows, same_row(row));
    if (other != now.rows.end()) {
      line.now = other->warm;
      line.noise = std::max(row.spread + other->spread, kLeastNoise);
      const double ratio = other->warm / row.warm;
      line.state = ratio > 1 + line.noise   ? State::kSlower
                   : ratio < 1 - line.noise ? State::kFaster
                                            : State::kSame;
    }
    out.rows.push_back(std::move(line));
  }
  for (const BenchRow& row : now.rows)
    if (std::ranges::none_of(base.rows, same_row(row)))
      out.rows.push_back({.kernel = row.kernel,
                          .shape = row.shape,
                          .variant = row.variant,
                          .state = State::kOnlyNew,
                          .now = row.warm});
  return out;
}

std::string text(const BenchComparison& comparison, const TextStyle& style) {
  TextTable table({{.title = "kernel"},
                   {.title = "shape"},
                   {.title = "variant"},
                   {.title = "base us", .align = Align::kRight},
                   {.title = "new us", .align = Align::kRight},
                   {.title = "new / base", .align = Align::kRight},
                   {.title = "noise", .align = Align::kRight},
                   {.title = "verdict"}});
  for (const auto& row : comparison.rows) {
    const bool both = row.base && row.now;
    table.add_row({row.kernel,
                   row.shape,
                   row.variant,
                   row.base ? micros(*row.base) : "-",
                   row.now ? micros(*row.now) : "-",
                   both ? fmt::format("{:.3f}", *row.now / *row.base) : "-",
                   both ? fmt::format("{:.1f} %", 100 * row.noise) : "-",
                   {std::string(name(row.state)), row.state == State::kSlower   ? Tone::kBad
                                                  : row.state == State::kFaster ? Tone::kGood
                                                                                : Tone::kPlain}});
  }
  return table.str(style) +
         fmt::format(
             "\n{} faster, {} slower, {} the same within the noise, {} in one of the two.\n",
             comparison.count(State::kFaster), comparison.count(State::kSlower),
             comparison.count(State::kSame),
             comparison.count(State::kOnlyBase) + comparison.count(State::kOnlyNew));
}

nlohmann::ordered_json json(const BenchComparison& comparison) {
  auto rows = ordered_json::array();
  for (const auto& row : comparison.rows)
    rows.push_back({{"kernel", row.kernel},
                    {"shape", row.shape},
                    {"variant", row.variant},
                    {"state", name(row.state)},
                    {"base_us", optional_us(row.base)},
                    {"new_us", optional_us(row.now)},
                    {"noise", row.noise}});
  return {{"format", "dsaperf.bench_compare.1"},
          {"verdict", comparison.count(State::kSlower) > 0 ? "slower" : "not_slower"},
          {"faster", comparison.count(State::kFaster)},
          {"slower", comparison.count(State::kSlower)},
          {"same", comparison.count(State::kSame)},
          {"base_device", comparison.base_device},
          {"new_device", comparison.new_device},
          {"rows", std::move(rows)},
          {"warnings", comparison.warnings}};
}

}  // namespace dsaperf::report
