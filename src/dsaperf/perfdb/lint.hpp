#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// What no measurement of a DSA layer can show, and what makes a table mislead whoever interpolates
// in it.
enum class LintRule {
  kUnusableLatency,       // zero, negative or not finite
  kRepeatedKey,           // two rows answer one question
  kBelowBound,            // faster than the hardware allows
  kSharedSlowerThanFull,  // a layer that skips the indexer takes longer than one that runs it
  kFasterWithMorePast,    // of two rows that differ in one size, the larger is clearly faster
  kFasterWithMoreNew,
  kFasterWithMoreBatch,
  kSpike,        // far above both neighbours
  kJump,         // grows faster than the size that grows, where selection does not begin
  kLaunchFloor,  // latency that counts host launches: flat over tokens and far above the bound
  kStepAtTopk,  // the step where selection begins: expected, but nothing may be interpolated across
  kOutOfProportion,  // beside a card of the same generation: no rate of the two explains the ratio
};

std::string_view name(LintRule rule);
// What is wrong with such rows, in a sentence.
std::string_view meaning(LintRule rule);
// A note describes a table and leaves it clean; everything else is a finding.
bool is_note(LintRule rule);

// All rows of one table that break one rule in one group of slices.
struct LintFinding {
  LintRule rule = LintRule::kUnusableLatency;
  std::int32_t slice = 0;         // of the rows; index into the table's slices
  std::vector<std::size_t> rows;  // indices into the table's rows, in its order
  std::size_t compared = 0;       // rows (or pairs) of the slice that the rule looked at
  double median_ratio = 0;        // by how much, in the rule's own terms; 0 where there is no ratio
  double worst_ratio = 0;
};

// What perfdb does not know itself: the model behind a slice.
struct LintPhysics {
  std::function<int(const DsaSlice&)> topk;
  // The least time the row can take on its card; empty: not known.
  std::function<std::optional<Micros>(const DsaSlice&, Phase, const DsaRow&)> bound;
};

struct LintLimits {
  double slower_shared = 1.05;  // shared / full
  // Larger / smaller, where neither has a spread: what rows are off by that their tables don't say.
  // Nor does the spread of a row's samples say all of it: measured again in the same run, rows of
  // ours were off by up to 7 %. So a row's spread makes the limit wider, and doesn't take its
  // place.
  double faster_with_more = 0.95;
  // So many times p10 and p90 count where rows have them: each is 1.28 standard deviations, and a
  // table compares a thousand pairs, of which 3.7 name one in ten tables by chance.
  double spreads = 2.9;
  double spike = 1.2;  // row / mean of its two neighbours in past, and clearly above each of them
  double jump = 1.25;  // growth of latency / growth of the work that the size allows
  double out_of_proportion = 1.25;  // outside what the cards' rates span, by this factor
  double floor_over_bound = 8;      // latency of a small batch-1 row / its bound ...
  double floor_flatness = 1.6;      // ... where p90 / p10 over 1 ... 64 tokens stays below this
  double step_at_topk = 1.3;        // first row beyond topk / last row within it
};

// Findings in order of rule, then slice. Rows of other sources than the first (fill-ins of older
// versions) are not looked at: they belong to another table.
std::vector<LintFinding> lint(const DsaTable& table, const LintPhysics& physics,
                              const LintLimits& limits = {});

// Rows of `table` beside the same rows of another card's table: `least` and `most` are what the
// cards' rates (arithmetic, memory, and 1 for what the host takes) let latency / latency be. The
// findings are of `table`.
std::vector<LintFinding> lint_siblings(const DsaTable& table, const DsaTable& sibling, double least,
                                       double most, const LintLimits& limits = {});

}  // namespace dsaperf::perfdb
