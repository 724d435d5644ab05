#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/stages/part_table.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::stages {

// The parts of a table as parts_of made them, kept in a file of the user's cache: to open Parquet
// and to sort rows is three quarters of the time that a first question takes.
//
// The file begins with what it was made from: this format, the sources with their sizes and times,
// the card's bandwidth; then comes a checksum of what follows. Where a word of it differs, or the
// file is damaged, it is as good as missing. Numbers are as the processor has them: the cache
// belongs to one machine.
class KeptParts {
 public:
  // An empty `folder`: nothing is kept.
  KeptParts(const std::filesystem::path& folder, const perfdb::SystemFile& system,
            std::string_view backend, std::string_view version, perfdb::Phase phase,
            const std::vector<perfdb::TableSource>& sources);

  // `system`: that of the constructor. Defects and floors of the host are not kept: they are the
  // fit's, and a part that was fitted has them in the store.
  std::optional<std::vector<Part>> read(const perfdb::SystemFile& system) const;
  // A cache that cannot be written costs the next run the same time, no more.
  void write(const std::vector<Part>& parts) const;

 private:
  std::filesystem::path path_;
  perfdb::Phase phase_;
  std::string origin_;
};

}  // namespace dsaperf::predict::stages
