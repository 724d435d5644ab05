#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"

#include <optional>
#include <string>
#include <string_view>

// Rows of a table that one model needs: most of a table is about others, and they are read in a
// third of the time or less. Otherwise as the functions that load all, which an empty choice does.
namespace dsaperf::perfdb {

// Layers that compute the same, whatever their sizes, kernels and selections. (Of the shipped
// tables, which are small, all rows come.)
struct DsaChoice {
  std::string architecture, mla_dtype, kv_dtype, gemm_dtype;
  bool operator==(const DsaChoice&) const = default;
};
Result<DsaTable> load_dsa_rows(const SystemsTree& tree, std::string_view system,
                               std::string_view backend, std::string_view version, Phase phase,
                               const std::optional<DsaChoice>& choice);

// Experts of one model, over all token counts, ranks and loads.
struct MoeChoice {
  std::string dtype;
  int hidden = 0, inter = 0, topk = 0, experts = 0;
  bool operator==(const MoeChoice&) const = default;
};
Result<MoeTable> load_moe_rows(const SystemsTree& tree, std::string_view system,
                               std::string_view backend, std::string_view version,
                               std::string_view table, const std::optional<MoeChoice>& choice);

}  // namespace dsaperf::perfdb
