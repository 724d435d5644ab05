#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// DeepEP's exchanges of expert parallelism, measured apart from the model: "normal" for prefill, by
// the SMs it may use, and low latency ("ll") for decode.
enum class DeepEpMode { kNormal, kLowLatency };

struct DeepEpRow {
  std::int32_t source = 0;
  std::int32_t nodes = 0, hidden = 0, tokens = 0, topk = 0, experts = 0;
  std::int32_t sms = 0;  // 0 in low-latency rows
  Micros dispatch;       // notification included
  Micros combine;
};

struct DeepEpTable {
  std::vector<DeepEpRow> rows;  // of all sources, one after the other
  std::vector<TableSource> sources;
};

Result<DeepEpTable> load_deepep_table(const SystemsTree& tree, std::string_view system,
                                      std::string_view backend, std::string_view version,
                                      DeepEpMode mode);

}  // namespace dsaperf::perfdb
