#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::report {

// One DSA table of a systems tree: what `db ls` shows.
struct TableSummary {
  std::string system, backend, version;
  std::string slot;  // "current", "previous", "next" or ""
  perfdb::Phase phase = perfdb::Phase::kContext;
  std::string file;
  std::size_t rows = 0;
  std::size_t shared_selection_rows = 0;
  std::size_t repeated_rows = 0;
  std::size_t unusable_rows = 0;
  std::vector<std::string> architectures, kv_dtypes, gemm_dtypes, kernel_sources;
  std::vector<std::int32_t> heads;
  std::int64_t max_past_tokens = 0, max_new_tokens = 0, max_batch = 0;
  std::string error;  // why the file cannot be read; the rest is then empty
};

// Every DSA table of the tree, or of one system. Files that cannot be read are listed with their
// error.
Result<std::vector<TableSummary>> list_tables(const perfdb::SystemsTree& tree,
                                              std::string_view system);

std::string text(const std::vector<TableSummary>& tables, const TextStyle& style);
nlohmann::ordered_json json(const std::vector<TableSummary>& tables,
                            const perfdb::SystemsTree& tree);  // dsaperf.db_ls.1

}  // namespace dsaperf::report
