#pragma once

#include "dsaperf/collect/journal.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {

// What a measurement says of itself that cannot be, beside what perfdb::lint sees in latencies.
enum class RowRule {
  kImpossibleClock,   // no clock, or one above what any Hopper or Blackwell card has
  kSlowedDown,        // the card said that it was throttled
  kDisorder,          // p10 <= median <= p90 does not hold, or a time is not positive and finite
  kStagesAboveWhole,  // the stages add up to more than the layer that they are parts of
  kNoEvidence,        // no kernel was seen that could be kernel_source
  kBelowBound,        // a product faster than its arithmetic or its weights allow
  kOtherClock,        // SM clock more than a tenth off the collection's median
  kUnsure,            // the median's 95 % interval is above 5 %, or a sum's p10 or p90 10 % off
};
std::string_view name(RowRule rule);
std::string_view meaning(RowRule rule);
// What may well be so: the row says its clock and its interval itself, and whoever reads it can
// weigh it by them. Everything else can't be, and is a finding.
bool is_note(RowRule rule);

struct RowFinding {
  RowRule rule = RowRule::kImpossibleClock;
  std::vector<std::string> rows;  // case ids, with the value that is wrong
};

// In order of rule. Failed cases are not looked at. Composed rows have no clock of their own and
// agree with their stages by construction: only their times are. Nor has a CPU's row a clock
// (kCpuMethod). Of products the bound is looked at where `card` is given; layers have perfdb::lint.
std::vector<RowFinding> lint_rows(const std::map<std::string, Entry>& entries,
                                  std::string_view method = {},
                                  const cost::SystemSpec* card = nullptr);

}  // namespace dsaperf::collect
