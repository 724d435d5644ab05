#include "dsaperf/perfdb/own_table.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace dsaperf::perfdb {
namespace {

constexpr std::string_view kFormat = "dsaperf.collect.table.1";
constexpr std::string_view kMark = " [composed]";

// Positions in kColumns.
enum : std::size_t {
  kPhase,
  kKv,
  kGemm,
  kRole,
  kScores,
  kLaunch,
  kKernel,
  kBatch,
  kNew,
  kPast,
  kHeads,
  kComposed,
  kWarm,
  kWarmP10,
  kWarmP90
};
constexpr std::array<ColumnRequest, 15> kColumns = {{
    {"phase", ColumnType::kText},
    {"kv", ColumnType::kText},
    {"gemm", ColumnType::kText},
    {"indexer_role", ColumnType::kText},
    {"scores", ColumnType::kText},
    {"launch", ColumnType::kText},
    {"kernel_source", ColumnType::kText},
    {"batch", ColumnType::kInt},
    {"new_tokens", ColumnType::kInt},
    {"past_tokens", ColumnType::kInt},
    {"heads", ColumnType::kInt},
    {"composed", ColumnType::kInt},
    {"warm_median_us", ColumnType::kReal},
    {"warm_p10_us", ColumnType::kReal},
    {"warm_p90_us", ColumnType::kReal},
}};

class Reader {
 public:
  Reader(const Columns& columns, Phase phase) : columns_(columns), phase_(phase) {}

  OwnTable read() {
    const auto& about = columns_.metadata;
    const auto said = [&](const char* key) {
      const auto found = about.find(key);
      return found == about.end() ? std::string() : found->second;
    };
    own_.about = {.model = said("model"),
                  .architecture = said("architecture"),
                  .framework = said("framework"),
                  .version = said("version"),
                  .device = said("device"),
                  .driver = said("driver"),
                  .method = said("method")};
    own_.table.phase = phase_;
    for (std::size_t i = 0; i < columns_.rows; ++i) {
      if (is_wanted(i)) add(i);
    }
    return std::move(own_);
  }

 private:
  std::string_view text(std::size_t column, std::size_t row) const {
    const auto& values = columns_[column];
    return values.values[static_cast<std::size_t>(values.codes[row])];
  }
  std::int32_t size(std::size_t column, std::size_t row) const {
    return static_cast<std::int32_t>(columns_[column].ints[row]);
  }

  bool is_wanted(std::size_t row) const {
    if (text(kPhase, row) != name(phase_)) return false;
    if (text(kScores, row) != "model_like" || text(kLaunch, row) != "graph") return false;
    const auto new_tokens = columns_[kNew].ints[row];
    if (new_tokens < 1 || columns_[kPast].ints[row] < 0) return false;  // ragged
    return phase_ == Phase::kContext || new_tokens == 1;
  }

  void add(std::size_t row) {
    const auto key = std::tuple(text(kKv, row), text(kGemm, row), text(kRole, row),
                                text(kKernel, row), columns_[kComposed].ints[row] != 0);
    const auto [found, is_new] = slice_of_.try_emplace(key, own_.table.slices.size());
    if (is_new) {
      const bool shared = text(kRole, row) == "shared";
      own_.table.slices.push_back(
          {.model = own_.about.model,
           .architecture = own_.about.architecture,
           .mla_dtype = "bfloat16",
           .kv_dtype = std::string(table_dtype(text(kKv, row))),
           .gemm_dtype = std::string(table_dtype(text(kGemm, row))),
           .op_name = fmt::format("dsa_{}_module{}", name(phase_), shared ? "_skip_indexer" : ""),
           .kernel_source = marked_kernel(text(kKernel, row), std::get<4>(key)),
           .shares_selection = shared});
    }
    own_.table.rows.push_back({.slice = static_cast<std::int32_t>(found->second),
                               .heads = size(kHeads, row),
                               .batch = size(kBatch, row),
                               .new_tokens = size(kNew, row),
                               .past_tokens = size(kPast, row),
                               .source = 0,
                               .latency = {columns_[kWarm].reals[row]},
                               .p10 = {columns_[kWarmP10].reals[row]},
                               .p90 = {columns_[kWarmP90].reals[row]}});
  }

  const Columns& columns_;
  Phase phase_;
  OwnTable own_;
  std::map<std::tuple<std::string_view, std::string_view, std::string_view, std::string_view, bool>,
           std::size_t>
      slice_of_;
};

}  // namespace

std::string marked_kernel(std::string_view kernel, bool composed) {
  std::string marked(kernel);
  if (composed) marked += kMark;
  return marked;
}

std::string_view unmarked_kernel(std::string_view marked) {
  if (is_composed(marked)) marked.remove_suffix(kMark.size());
  return marked;
}

bool is_composed(std::string_view marked) {
  return marked.ends_with(kMark);
}

Result<OwnTable> read_own_table(const std::filesystem::path& path, Phase phase) {
  DSAPERF_TRY_ASSIGN(const auto nothing, read_columns(path, {}));
  const auto format = nothing.metadata.find("format");
  if (format == nothing.metadata.end() || format->second != kFormat) {
    return fail(Errc::kParse, "{}: format '{}' is not {}", path.native(),
                format == nothing.metadata.end() ? "" : format->second, kFormat);
  }
  DSAPERF_TRY_ASSIGN(const auto columns, read_columns(path, kColumns));
  auto own = Reader(columns, phase).read();
  own.table.sources.push_back({.path = path,
                               .backend = std::string(kOwnBackend),
                               .version = std::string(kOwnVersion),
                               .kernel_sources = {}});
  return own;
}

std::vector<std::filesystem::path> own_table_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;  // no folder: no tables
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".parquet") found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

Result<OwnTable> read_own_folder(const std::filesystem::path& folder, Phase phase) {
  OwnTable all;
  all.table.phase = phase;
  std::map<std::tuple<std::string, std::string, std::string, bool, std::int32_t, std::int32_t,
                      std::int32_t, std::int32_t>,
           std::size_t>
      at;
  bool first = true;
  for (const auto& file : own_table_files(folder)) {
    DSAPERF_TRY_ASSIGN(const auto part, read_own_table(file, phase));
    if (first) all.about = part.about;
    first = false;
    if (part.about.device != all.about.device) {
      return fail(Errc::kInvalidArgument, "{}: is of '{}', the tables beside it of '{}'",
                  file.native(), part.about.device, all.about.device);
    }
    for (auto row : part.table.rows) {
      const auto& slice = part.table.slices[static_cast<std::size_t>(row.slice)];
      auto& slices = all.table.slices;
      const auto known = std::ranges::find(slices, slice);
      row.slice = static_cast<std::int32_t>(known - slices.begin());
      if (known == slices.end()) slices.push_back(slice);
      const auto [found, is_new] = at.try_emplace(
          std::tuple(slice.architecture, slice.kv_dtype, slice.gemm_dtype, slice.shares_selection,
                     row.heads, row.batch, row.new_tokens, row.past_tokens),
          all.table.rows.size());
      if (is_new) {
        all.table.rows.push_back(row);
        continue;
      }
      auto& kept = all.table.rows[found->second];
      const auto& kernel = slices[static_cast<std::size_t>(kept.slice)].kernel_source;
      if (is_composed(kernel) && !is_composed(slice.kernel_source)) kept = row;
    }
  }
  if (first) return fail(Errc::kNotFound, "{}: no tables of dsaperf collect", folder.native());
  all.table.sources.push_back({.path = folder,
                               .backend = std::string(kOwnBackend),
                               .version = std::string(kOwnVersion),
                               .kernel_sources = {}});
  return all;
}

}  // namespace dsaperf::perfdb
