#pragma once

#include "dsaperf/collect/journal.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

// What a journal becomes when it is read as a table.
namespace dsaperf::collect {

// Everything that was measured, a row a case: sizes, axes, cold and warm summaries, each stage's
// time, the card's state (docs/formats/collect.md, `dsaperf.collect.table.1`). Failed cases and
// stages measured alone have no row; of a ragged batch new_tokens and past_tokens are -1 and
// `requests` tells them.
struct FullTable {
  std::vector<perfdb::NewColumn> columns;
  std::map<std::string, std::string> metadata;
};
FullTable full_table(const JournalHeader& header, const std::map<std::string, Entry>& entries);

// The products of a journal in the columns of AIConfigurator's gemm_perf.parquet (op_name "gemm",
// latency: the warm median in ms), beside them spread, cold times and clocks: of graph replay, or
// of eager launches where nothing was replayed. No columns where there are no products.
FullTable gemm_table(const JournalHeader& header, const std::map<std::string, Entry>& entries);

// The rows of such a table as the journal had them, less what the table does not keep: the kernels
// of single stages. Of two rows of one case the later counts. Fails with kParse naming the row
// whose axes are none.
struct TableContent {
  JournalHeader header;
  std::map<std::string, Entry> entries;
};
Result<TableContent> read_full_table(const std::filesystem::path& path);

// The rows of gemm_table as the journal had them. Fails with kParse where the file is another's:
// AIConfigurator has one of the same name.
Result<TableContent> read_gemm_table(const std::filesystem::path& path);

// The rows that a module table can hold: uniform batches, q_len 1, of one score distribution and
// way of launching (those that Options names). The latency is the warm median.
struct DsaTableOptions {
  ScoreDistribution scores = ScoreDistribution::kModelLike;
  Launch launch = Launch::kGraph;
};
perfdb::DsaTable dsa_table(const JournalHeader& header, const std::map<std::string, Entry>& entries,
                           perfdb::Phase phase, const DsaTableOptions& options = {});

// Journals of one collection put together, shards or pieces.
struct Merged {
  JournalHeader header;  // of the whole: shard 0/1
  std::map<std::string, Entry> entries;
  std::vector<std::string> conflicts;  // ids that two journals measured, with both times
};

// Every journal (rows*.jsonl) in a folder, or the one that `place` names, from all places. Of a
// case that two journals hold a measurement beats a sum of stages, and that an error; two
// measurements, or two sums, that differ are a conflict and the first is kept. Fails where the
// journals are of different models, devices, versions or methods.
Result<Merged> merge_journals(const std::vector<std::filesystem::path>& places);

}  // namespace dsaperf::collect
