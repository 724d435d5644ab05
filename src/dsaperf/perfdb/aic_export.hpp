#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

struct AicExport {
  std::string system;     // the card as AIConfigurator names it ("h200_sxm")
  std::string backend;    // whose `current` version the tables answer for
  std::string framework;  // provenance columns
  std::string version;
  std::string device;
};

// One module table as AIConfigurator has it: INT64, DOUBLE and string columns, ZSTD. Of `what` the
// provenance columns count.
Result<void> write_dsa_file(const std::filesystem::path& path, const DsaTable& table,
                            const AicExport& what);

// A card's system of ours beside AIConfigurator's own: h200_sxm_dsaperf.
inline constexpr std::string_view kOwnSystemSuffix = "_dsaperf";
inline std::string own_system(std::string_view card) {
  return std::string(card).append(kOwnSystemSuffix);
}

struct AicExportReport {
  std::string system;                        // own_system of the card
  std::vector<std::filesystem::path> files;  // written
  std::vector<std::string> warnings;         // questions that the tables will not answer
};

// Writes a systems folder that aiconfigurator 0.12 loads: a system of its own beside the shipped
// ones, DIRECTORY/<system>_dsaperf.yaml, our DSA tables under the backend's current version, the
// other families linked to `installed` (reference: AIConfigurator's own lookup; nothing of another
// framework's DSA rows is in reach, so nothing is filled in silently).
//
// Refuses, naming the rows, what AIConfigurator would swallow in silence: a latency that is zero,
// negative or not finite, and two rows with one key. Nothing is written then. Warns of slices that
// a model of the architecture asks for and the tables lack.
Result<AicExportReport> export_to_aiconfigurator(const std::vector<DsaTable>& tables,
                                                 const AicExport& what,
                                                 const SystemsTree& installed,
                                                 const std::filesystem::path& directory);

}  // namespace dsaperf::perfdb
