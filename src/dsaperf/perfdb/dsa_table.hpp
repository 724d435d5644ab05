#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

enum class Phase { kContext, kGeneration };
std::string_view name(Phase phase);

// File name of the DSA module table of a phase.
std::string_view dsa_table_file(Phase phase);

// What a group of rows has in common: everything that changes the computation and is no size.
struct DsaSlice {
  std::string model;
  std::string architecture;
  std::string mla_dtype;   // "bfloat16"
  std::string kv_dtype;    // "bfloat16", "fp8"
  std::string gemm_dtype;  // "fp8_block", "bfloat16", ...
  std::string op_name;     // contains "skip_indexer": a layer that reuses the selection of another
  std::string kernel_source;  // the kernel that ran, where the framework's collector recorded it
  bool shares_selection = false;

  bool operator==(const DsaSlice&) const = default;
};

// One measured latency of one layer. Per request: `new_tokens` query tokens follow `past_tokens`
// cached ones. (In a table's columns: isl and step. vLLM's decode rows count the new token in step
// as well, so that their total is one larger than what ran; it is kept as stored.)
struct DsaRow {
  std::int32_t slice = 0;  // index into DsaTable::slices
  std::int32_t heads = 0;  // of one rank
  std::int32_t batch = 0;  // requests
  std::int32_t new_tokens = 0;
  std::int32_t past_tokens = 0;
  std::int32_t source = 0;  // index into DsaTable::sources
  Micros latency;
  // Of the samples, or of what a sum of stages is off by; 0: the table does not say, as
  // AIConfigurator's don't.
  Micros p10 = {};
  Micros p90 = {};

  std::int64_t total() const { return std::int64_t{new_tokens} + past_tokens; }
};

struct DsaTable {
  Phase phase = Phase::kContext;
  std::vector<DsaSlice> slices;
  std::vector<DsaRow> rows;  // in the order of the files
  std::vector<TableSource> sources;
};

// What a reader must not overlook; the rows stay in the table.
struct DsaDefects {
  std::size_t repeated_rows = 0;  // an earlier row of the same file has the same slice and sizes
  std::size_t unusable_rows = 0;  // latency zero, negative or not finite
};
DsaDefects find_defects(const DsaTable& table);

// Of each point the row that AIConfigurator answers with: the first source that has the slice and
// sizes, and within it the last row. (Models and kernels are held apart, as slices are.) Rows
// without a usable latency are left out.
struct AnsweringRows {
  DsaTable table;
  std::size_t repeated = 0;  // rows left out because another answers
  std::size_t unusable = 0;
};
AnsweringRows answering_rows(const DsaTable& table);

// The rows of one file. Fails with kParse on a missing column, a wrong type, a null or a size that
// is negative or beyond 31 bits (with its row); on a file without rows the table is empty.
Result<DsaTable> read_dsa_file(const std::filesystem::path& path, Phase phase);

// The rows of all sources of a table, one source after the other. Where several rows answer one
// question, AIConfigurator takes the first source that has any and, within it, the last row; which
// rows compete depends on what the reader holds for equal (the kernel, the model), so all are kept.
Result<DsaTable> load_dsa_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version, Phase phase);

}  // namespace dsaperf::perfdb
