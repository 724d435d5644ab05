#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/core/units.hpp"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::report {

// One variant of a kernel at one shape, as `dsaperf bench` timed it.
struct BenchRow {
  std::string kernel = {};
  std::string shape = {};
  std::string variant = {};
  Micros cold = {}, warm = {};
  double spread = 0;                 // half the range over the median, of warm
  std::optional<Micros> bound = {};  // absent where the card's peaks are not known
  std::optional<bool> right = {};    // the result was the default's
};

struct BenchReport {
  std::string device = {};
  int sm_count = 0;
  int sm_mhz = 0, sm_mhz_max = 0;
  double power_limit_w = 0;
  std::string commit = {};
  std::string bound_source = {};
  std::vector<BenchRow> rows = {};
  std::vector<std::string> left_out = {};  // shapes that the time did not reach, or that failed
  std::vector<std::string> warnings = {};
};

std::string text(const BenchReport& report, const TextStyle& style);
nlohmann::ordered_json json(const BenchReport& report);  // dsaperf.bench.1
Result<BenchReport> parse_bench(std::string_view json);

// A run against an earlier one, row by row: warm times where both have them.
struct BenchComparison {
  enum class State { kFaster, kSlower, kSame, kOnlyBase, kOnlyNew };
  struct Row {
    std::string kernel, shape, variant;
    State state = State::kSame;
    std::optional<Micros> base = {}, now = {};
    double noise = 0;  // of both: the sum of the spreads, at least 1 %
  };
  std::string base_device = {}, new_device = {};
  std::vector<Row> rows = {};
  std::vector<std::string> warnings = {};  // other cards, other clocks

  int count(State state) const;
};

std::string_view name(BenchComparison::State state);
// Rows are matched by kernel, shape and variant; two of one name in a document are an error of
// parse_bench.
BenchComparison compare(const BenchReport& base, const BenchReport& now);
std::string text(const BenchComparison& comparison, const TextStyle& style);
nlohmann::ordered_json json(const BenchComparison& comparison);  // dsaperf.bench_compare.1

}  // namespace dsaperf::report
