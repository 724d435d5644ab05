#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/layer_query.hpp"
#include "dsaperf/predict/stages/part_model.hpp"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace dsaperf::predict::stages {

// One part of a table, its rows chosen and nothing fitted: one kind of layer, kernel and regime.
struct Part {
  LayerKind kind;
  bool shares_selection = false;
  std::string kernel_source;
  std::int32_t source = 0;  // of the table
  Setting setting;
  std::vector<Observation> observations;
  std::uint64_t hash = 0;  // of kind, kernel, regime, sizes and latencies
  // Filled by look_at_rows: what lint finds ("spike 128 of 1304 rows; ..."), and the least time of
  // a layer's launches where the host makes them one by one.
  std::string defects;
  double host_floor_ms = 0;
};

// Splits a table. Of the sources that have rows of a kind the first counts, whole: versions are not
// mixed. Of rows of equal sizes the last counts; rows without a positive latency are left out.
// `backend` vllm: its decode rows count the new token twice, which is taken back (past_of_row).
Result<std::vector<Part>> parts_of(const perfdb::DsaTable& table, const perfdb::SystemFile& system,
                                   std::string_view backend);

// What a fit needs to know of all rows of a table. Defects: rules of lint that at least one row in
// twenty of a part breaks, notes and repeated keys apart. Host floors: a part without idle rows
// takes that of the others, of its own kind where they have one.
void look_at_rows(std::vector<Part>& parts, const perfdb::DsaTable& table,
                  std::string_view backend);

// Cached tokens that really were there, for the past of a row or a query.
double real_past(std::string_view backend, perfdb::Phase phase, double past_tokens);

}  // namespace dsaperf::predict::stages
