#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// One question that both tables answer.
struct DiffRow {
  std::size_t before = 0;  // index into the first table's rows
  std::size_t after = 0;   // into the second's
  double ratio = 0;        // before / after: above 1 the second is faster
};

// Rows of two tables of one phase side by side, matched by architecture, formats, whether the layer
// shares its selection, and sizes. The checkpoint and the kernel may differ: that is what is
// compared. Of repeated keys the last row counts.
struct TableDiff {
  std::vector<DiffRow> faster;  // the second table, by more than is explained
  std::vector<DiffRow> slower;
  std::vector<DiffRow> same;
  std::size_t only_before = 0;
  std::size_t only_after = 0;

  std::size_t matched() const { return faster.size() + slower.size() + same.size(); }
  // Over all matched rows; 1 where none is.
  double geometric_mean() const;
};

// `tolerance`: relative difference that needs no explanation; the spreads of both rows, where they
// have some, explain more (row_spread.hpp). Rows without a usable latency are not matched.
TableDiff diff(const DsaTable& before, const DsaTable& after, double tolerance);

// The parts of a grid that are told apart when two tables are summed up: what bounds a row is
// another in each.
enum class Regime {
  kDense,        // past + new tokens within topk
  kSparse,       // beyond; prefill of fewer than 8192 tokens in all, and all decode
  kSparseLarge,  // prefill of 8192 tokens and more
};
std::string_view name(Regime regime);

// Rows of one regime and head count.
struct DiffGroup {
  Regime regime = Regime::kDense;
  std::int32_t heads = 0;
  std::size_t rows = 0;
  std::size_t ahead = 0;      // the second table is not slower
  double geometric_mean = 1;  // of first / second
  double worst = 0;           // the least ratio: where the second loses most
};

// All matched rows, in order of regime and heads. `topk` is that of a row's slice.
std::vector<DiffGroup> groups(const DsaTable& before, const TableDiff& diff,
                              const std::function<int(const DsaSlice&)>& topk);

}  // namespace dsaperf::perfdb
