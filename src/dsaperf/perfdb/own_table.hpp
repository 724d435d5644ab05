#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

// Tables of `dsaperf collect` (rows.parquet, docs/formats/collect.md), and those of them that are
// shipped: data/tables/<card>/<piece>.parquet.
namespace dsaperf::perfdb {

// Under which name a systems tree offers our own rows.
inline constexpr std::string_view kOwnBackend = "dsaperf";
inline constexpr std::string_view kOwnVersion = "shipped";

// The kernel of a row as readers see it. One that is a sum of stages measured alone ends in
// " [composed]": no kernel is called so, and no reader takes it for a measurement.
std::string marked_kernel(std::string_view kernel, bool composed);
std::string_view unmarked_kernel(std::string_view marked);
bool is_composed(std::string_view marked);

// What a table of ours says of itself.
struct OwnTableAbout {
  std::string model;
  std::string architecture;
  std::string framework;
  std::string version;
  std::string device;
  std::string driver;
  std::string method;
};
struct OwnTable {
  OwnTableAbout about;
  DsaTable table;
};

// The rows of one phase that a module table can hold: uniform batches, q_len 1, model-like scores,
// graph replay; the latency is the warm median. Fails with kParse where the file is none of ours.
Result<OwnTable> read_own_table(const std::filesystem::path& path, Phase phase);

// Every table (*.parquet) of a folder, sorted; empty where there is none.
std::vector<std::filesystem::path> own_table_files(const std::filesystem::path& folder);

// The rows of all tables of a folder as one table with one source, the folder. Of a point that
// several hold a measurement beats a sum of stages; else the first file's counts. Fails with
// kNotFound where there is no table, and with kInvalidArgument where they are of different devices.
Result<OwnTable> read_own_folder(const std::filesystem::path& folder, Phase phase);

}  // namespace dsaperf::perfdb
