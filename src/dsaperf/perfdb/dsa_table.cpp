#include "dsaperf/perfdb/dsa_table.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/chosen_rows.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/own_table.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace dsaperf::perfdb {
namespace {

constexpr std::array<ColumnRequest, 12> kColumns = {{
    {"model", ColumnType::kText, true},
    {"architecture", ColumnType::kText, false},
    {"mla_dtype", ColumnType::kText, false},
    {"kv_cache_dtype", ColumnType::kText, false},
    {"gemm_type", ColumnType::kText, false},
    {"op_name", ColumnType::kText, true},
    {"kernel_source", ColumnType::kText, true},
    {"num_heads", ColumnType::kInt, false},
    {"batch_size", ColumnType::kInt, false},
    {"isl", ColumnType::kInt, false},
    {"step", ColumnType::kInt, false},
    {"latency", ColumnType::kReal, false},
}};
constexpr std::size_t kArchitecture = 1;
constexpr std::size_t kMlaDtype = 2;
constexpr std::size_t kKvDtype = 3;
constexpr std::size_t kGemmDtype = 4;
constexpr std::size_t kTextColumns = 7;
constexpr std::size_t kFirstInt = 7;
constexpr std::size_t kLatency = 11;

Result<void> check_sizes(const Columns& columns) {
  for (std::size_t c = kFirstInt; c < kLatency; ++c) {
    const auto& values = columns[c].ints;
    const auto bad = std::find_if(values.begin(), values.end(), [](std::int64_t v) {
      return v < 0 || v > std::numeric_limits<std::int32_t>::max();
    });
    if (bad != values.end()) {
      return fail(Errc::kParse, "row {}: {} = {} is no size",
                  columns.row_number(static_cast<std::size_t>(bad - values.begin())),
                  kColumns[c].name, *bad);
    }
  }
  return {};
}

// One number for each combination of texts that occurs.
class SliceIndex {
 public:
  explicit SliceIndex(const Columns& columns) : columns_(columns) {}

  std::int32_t of_row(std::size_t row, std::vector<DsaSlice>& slices) {
    std::uint64_t key = 0;
    for (std::size_t c = 0; c < kTextColumns; ++c) {
      const auto& column = columns_[c];
      if (column.present)
        key = key * column.values.size() + static_cast<std::uint64_t>(column.codes[row]);
    }
    if (key == last_key_) return last_;
    last_key_ = key;
    const auto [found, is_new] = of_key_.try_emplace(key, static_cast<std::int32_t>(slices.size()));
    if (is_new) slices.push_back(slice_of(row));
    return last_ = found->second;
  }

 private:
  DsaSlice slice_of(std::size_t row) const {
    const auto text = [&](std::size_t c) {
      const auto& column = columns_[c];
      return column.present ? column.values[static_cast<std::size_t>(column.codes[row])]
                            : std::string();
    };
    DsaSlice slice{.model = text(0),
                   .architecture = text(1),
                   .mla_dtype = text(2),
                   .kv_dtype = text(3),
                   .gemm_dtype = text(4),
                   .op_name = text(5),
                   .kernel_source = text(6)};
    slice.shares_selection = slice.op_name.find("skip_indexer") != std::string::npos;
    return slice;
  }

  const Columns& columns_;
  std::unordered_map<std::uint64_t, std::int32_t> of_key_;
  std::uint64_t last_key_ = UINT64_MAX;
  std::int32_t last_ = 0;
};

struct PointHash {
  std::size_t operator()(const DsaRow& row) const {
    std::uint64_t h = static_cast<std::uint64_t>(row.slice) * 0x9E3779B97F4A7C15U;
    for (const std::int32_t v : {row.heads, row.batch, row.new_tokens, row.past_tokens}) {
      h = (h ^ static_cast<std::uint64_t>(v)) * 0xD6E8FEB86659FD93U;
      h ^= h >> 32;
    }
    return h;
  }
};
struct SamePoint {
  bool operator()(const DsaRow& a, const DsaRow& b) const {
    return a.source == b.source && a.slice == b.slice && a.heads == b.heads && a.batch == b.batch &&
           a.new_tokens == b.new_tokens && a.past_tokens == b.past_tokens;
  }
};

Result<DsaTable> read_file(const std::filesystem::path& path, Phase phase,
                           std::span<const RowFilter> filters) {
  DSAPERF_TRY_ASSIGN(const auto columns, read_columns(path, kColumns, filters));
  if (auto sizes = check_sizes(columns); !sizes) {
    return tl::unexpected(std::move(sizes).error().with_context(path.native()));
  }
  DsaTable table;
  table.phase = phase;
  table.sources.push_back({.path = path, .backend = {}, .version = {}, .kernel_sources = {}});
  table.rows.resize(columns.rows);
  SliceIndex slices(columns);
  for (std::size_t i = 0; i < columns.rows; ++i) {
    auto& row = table.rows[i];
    row.slice = slices.of_row(i, table.slices);
    row.heads = static_cast<std::int32_t>(columns[7].ints[i]);
    row.batch = static_cast<std::int32_t>(columns[8].ints[i]);
    row.new_tokens = static_cast<std::int32_t>(columns[9].ints[i]);
    row.past_tokens = static_cast<std::int32_t>(columns[10].ints[i]);
    row.latency = Micros::from_millis(columns[kLatency].reals[i]);
  }
  return table;
}

}  // namespace

std::string_view name(Phase phase) {
  return phase == Phase::kContext ? "context" : "generation";
}

std::string_view dsa_table_file(Phase phase) {
  return phase == Phase::kContext ? "dsa_context_module_perf.parquet"
                                  : "dsa_generation_module_perf.parquet";
}

Result<DsaTable> read_dsa_file(const std::filesystem::path& path, Phase phase) {
  return read_file(path, phase, {});
}

Result<DsaTable> load_dsa_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version, Phase phase) {
  return load_dsa_rows(tree, system, backend, version, phase, std::nullopt);
}

Result<DsaTable> load_dsa_rows(const SystemsTree& tree, std::string_view system,
                               std::string_view backend, std::string_view version, Phase phase,
                               const std::optional<DsaChoice>& choice) {
  DSAPERF_TRY_ASSIGN(const auto sources,
                     tree.sources(system, backend, version, dsa_table_file(phase)));
  if (sources.empty()) {
    return fail(Errc::kNotFound, "{} {} on {}: no {}", backend, version, system,
                dsa_table_file(phase));
  }
  DsaTable merged;
  merged.phase = phase;
  merged.sources = sources;
  if (tree.is_shipped()) {
    DSAPERF_TRY_ASSIGN(auto own, read_own_folder(sources.front().path, phase));
    return std::move(own.table);
  }
  std::vector<RowFilter> filters;
  if (choice) {
    filters = {{.column = kArchitecture, .text = choice->architecture},
               {.column = kKvDtype, .text = choice->kv_dtype},
               {.column = kGemmDtype, .text = choice->gemm_dtype},
               {.column = kMlaDtype, .text = choice->mla_dtype}};
  }
  for (std::size_t s = 0; s < sources.size(); ++s) {
    DSAPERF_TRY_ASSIGN(auto part, read_file(sources[s].path, phase, filters));
    std::vector<std::int32_t> slice_of(part.slices.size(), -1);
    const auto& kernels = sources[s].kernel_sources;
    for (std::size_t i = 0; i < part.slices.size(); ++i) {
      if (!kernels.empty() && std::find(kernels.begin(), kernels.end(),
                                        part.slices[i].kernel_source) == kernels.end()) {
        continue;
      }
      const auto known = std::find(merged.slices.begin(), merged.slices.end(), part.slices[i]);
      slice_of[i] = static_cast<std::int32_t>(known - merged.slices.begin());
      if (known == merged.slices.end()) merged.slices.push_back(part.slices[i]);
    }
    if (s == 0 && merged.slices.size() == part.slices.size()) {
      merged.rows = std::move(part.rows);  // all of them, as they are numbered
      continue;
    }
    merged.rows.reserve(merged.rows.size() + part.rows.size());
    for (auto row : part.rows) {
      row.slice = slice_of[static_cast<std::size_t>(row.slice)];
      if (row.slice < 0) continue;
      row.source = static_cast<std::int32_t>(s);
      merged.rows.push_back(row);
    }
  }
  return merged;
}

DsaDefects find_defects(const DsaTable& table) {
  DsaDefects defects;
  std::unordered_set<DsaRow, PointHash, SamePoint> seen;
  seen.reserve(table.rows.size());
  for (const auto& row : table.rows) {
    if (!seen.insert(row).second) ++defects.repeated_rows;
    if (!(row.latency.value > 0) || !std::isfinite(row.latency.value)) ++defects.unusable_rows;
  }
  return defects;
}

AnsweringRows answering_rows(const DsaTable& table) {
  struct Sizes {
    DsaRow row;  // source 0: a point is the same whatever file it is in
    bool operator==(const Sizes& other) const { return SamePoint()(row, other.row); }
  };
  struct Hash {
    std::size_t operator()(const Sizes& sizes) const { return PointHash()(sizes.row); }
  };
  AnsweringRows result;
  result.table.phase = table.phase;
  result.table.slices = table.slices;
  result.table.sources = table.sources;
  std::unordered_map<Sizes, std::size_t, Hash> at;
  for (const auto& row : table.rows) {
    if (!(row.latency.value > 0) || !std::isfinite(row.latency.value)) {
      ++result.unusable;
      continue;
    }
    auto sizes = row;
    sizes.source = 0;
    const auto [found, is_new] = at.try_emplace({sizes}, result.table.rows.size());
    if (is_new) {
      result.table.rows.push_back(row);
      continue;
    }
    ++result.repeated;
    auto& kept = result.table.rows[found->second];
    if (kept.source == row.source) kept = row;
  }
  return result;
}

}  // namespace dsaperf::perfdb
