#include "dsaperf/perfdb/deepep_table.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/columns.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace dsaperf::perfdb {
namespace {

constexpr std::array<ColumnRequest, 5> kSizes = {
    {{.name = "node_num", .type = ColumnType::kInt},
     {.name = "hidden_size", .type = ColumnType::kInt},
     {.name = "num_token", .type = ColumnType::kInt},
     {.name = "num_topk", .type = ColumnType::kInt},
     {.name = "num_experts", .type = ColumnType::kInt}}};

std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(value, 0, std::numeric_limits<std::int32_t>::max()));
}

DeepEpRow sizes_of(const Columns& columns, std::size_t i, std::size_t source) {
  return {.source = static_cast<std::int32_t>(source),
          .nodes = narrow(columns[0].ints[i]),
          .hidden = narrow(columns[1].ints[i]),
          .tokens = narrow(columns[2].ints[i]),
          .topk = narrow(columns[3].ints[i]),
          .experts = narrow(columns[4].ints[i]),
          .sms = 0,
          .dispatch = {},
          .combine = {}};
}

Result<void> append_normal(DeepEpTable& table, std::size_t source) {
  std::vector<ColumnRequest> requests(kSizes.begin(), kSizes.end());
  requests.push_back({.name = "dispatch_sms", .type = ColumnType::kInt});
  for (const char* name :
       {"dispatch_transmit_us", "dispatch_notify_us", "combine_transmit_us", "combine_notify_us"})
    requests.push_back({.name = name, .type = ColumnType::kReal});
  DSAPERF_TRY_ASSIGN(const auto columns, read_columns(table.sources[source].path, requests));
  for (std::size_t i = 0; i < columns.rows; ++i) {
    auto row = sizes_of(columns, i, source);
    row.sms = narrow(columns[5].ints[i]);
    row.dispatch = Micros{columns[6].reals[i] + columns[7].reals[i]};
    row.combine = Micros{columns[8].reals[i] + columns[9].reals[i]};
    table.rows.push_back(row);
  }
  return {};
}

Result<void> append_low_latency(DeepEpTable& table, std::size_t source) {
  std::vector<ColumnRequest> requests(kSizes.begin(), kSizes.end());
  requests.push_back({.name = "dispatch_avg_t_us", .type = ColumnType::kReal});
  requests.push_back({.name = "combine_avg_t_us", .type = ColumnType::kReal});
  DSAPERF_TRY_ASSIGN(const auto columns, read_columns(table.sources[source].path, requests));
  for (std::size_t i = 0; i < columns.rows; ++i) {
    auto row = sizes_of(columns, i, source);
    row.dispatch = Micros{columns[5].reals[i]};
    row.combine = Micros{columns[6].reals[i]};
    table.rows.push_back(row);
  }
  return {};
}

}  // namespace

Result<DeepEpTable> load_deepep_table(const SystemsTree& tree, std::string_view system,
                                      std::string_view backend, std::string_view version,
                                      DeepEpMode mode) {
  const bool normal = mode == DeepEpMode::kNormal;
  const std::string_view file =
      normal ? "wideep_deepep_normal_perf.parquet" : "wideep_deepep_ll_perf.parquet";
  DeepEpTable table;
  DSAPERF_TRY_ASSIGN(table.sources, tree.sources(system, backend, version, file));
  if (table.sources.empty())
    return fail(Errc::kNotFound, "{} {} on {}: no {}", backend, version, system, file);
  for (std::size_t s = 0; s < table.sources.size(); ++s)
    DSAPERF_TRY(normal ? append_normal(table, s) : append_low_latency(table, s));
  return table;
}

}  // namespace dsaperf::perfdb
