#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace dsaperf::report {

enum class RowSize { kHeads, kBatch, kNewTokens, kPastTokens };

// Which rows of a table are looked at; an empty list or text takes all.
struct RowFilter {
  std::string model = {};  // part of the name of the model or of the architecture
  std::string kv_dtype = {};
  std::string gemm_dtype = {};
  std::vector<std::int32_t> heads = {};
  std::vector<std::int32_t> batch = {};
  std::vector<std::int32_t> new_tokens = {};
  std::vector<std::int32_t> past_tokens = {};
};

// Indices of the rows that pass, in the table's order.
std::vector<std::size_t> selected_rows(const perfdb::DsaTable& table, const RowFilter& filter);

struct TableViewOptions {
  RowFilter filter = {};
  RowSize x = RowSize::kPastTokens;  // of the plot
  std::size_t lines = 6;             // drawn at most: those with most points
  std::size_t rows = 0;              // listed at most
};

// What a table holds (each slice with its rows and the range of every size), a plot of latency over
// one size with all else fixed, a line for each combination of the rest, and rows.
std::string text(const perfdb::DsaTable& table, const std::string& name,
                 const TableViewOptions& options, const TextStyle& style);
nlohmann::ordered_json json(const perfdb::DsaTable& table, const std::string& name,
                            const TableViewOptions& options);

}  // namespace dsaperf::report
