#include "dsaperf/collect/tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/split.hpp"
#include "dsaperf/core/trimmed.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::collect {
namespace {

using perfdb::ColumnType;
using perfdb::NewColumn;

constexpr std::string_view kTableFormat = "dsaperf.collect.table.1";
constexpr std::string_view kGemmFormat = "dsaperf.collect.gemm.1";

// Fills columns by name, in the order in which the first row names them.
class Rows {
 public:
  void text(const char* name, std::string_view value) {
    column(name, ColumnType::kText).texts.emplace_back(value);
  }
  void integer(const char* name, std::int64_t value) {
    column(name, ColumnType::kInt).ints.push_back(value);
  }
  void real(const std::string& name, double value) {
    column(name, ColumnType::kReal).reals.push_back(value);
  }
  std::vector<NewColumn> take() { return std::move(columns_); }

 private:
  NewColumn& column(const std::string& name, ColumnType type) {
    const auto found = std::find_if(columns_.begin(), columns_.end(),
                                    [&](const NewColumn& each) { return each.name == name; });
    if (found != columns_.end()) return *found;
    columns_.push_back({.name = name, .type = type});
    return columns_.back();
  }

  std::vector<NewColumn> columns_;
};

void add_summary(Rows& rows, const std::string& state, const Summary& summary) {
  rows.real(state + "_median_us", summary.median.value);
  rows.real(state + "_p10_us", summary.p10.value);
  rows.real(state + "_p90_us", summary.p90.value);
  rows.real(state + "_count", summary.count);
  rows.real(state + "_ci95", summary.ci95);
}

std::string stage_column(model::Stage stage) {
  return fmt::format("{}_us", model::name(stage));
}

void add_card(Rows& rows, const CardState& card) {
  rows.integer("sm_mhz", card.sm_mhz);
  rows.integer("memory_mhz", card.memory_mhz);
  rows.integer("clocks_locked", card.clocks_locked ? 1 : 0);
  rows.real("power_w", card.power_w);
  rows.real("energy_j", card.energy_j);
  rows.integer("temperature_c", card.temperature_c);
  rows.text("throttle_reasons", fmt::format("{}", fmt::join(card.throttle_reasons, ", ")));
}

std::map<std::string, std::string> metadata_of(const JournalHeader& header,
                                               std::string_view format) {
  return {{"format", std::string(format)},       {"model", header.model},
          {"architecture", header.architecture}, {"framework", header.source.framework},
          {"version", header.source.version},    {"device", header.source.device},
          {"driver", header.source.driver},      {"method", header.source.method}};
}

void add_row(Rows& rows, const Entry& entry) {
  const auto& what = entry.what;
  const auto& measured = entry.measurement;
  // "context/1x4096+0,8x1+8192": what follows the phase.
  const auto shape = what.shape_text();
  rows.text("phase", perfdb::name(what.phase));
  rows.text("requests", shape.substr(shape.find('/') + 1));
  rows.integer("batch", what.batch());
  rows.integer("new_tokens", what.uniform() ? what.requests.front().new_tokens : -1);
  rows.integer("past_tokens", what.uniform() ? what.requests.front().past_tokens : -1);
  rows.integer("heads", what.heads);
  rows.text("kv", model::name(what.kv));
  rows.text("gemm", model::name(what.gemm));
  rows.text("indexer_role", model::name(what.role));
  rows.text("scores", name(what.scores));
  rows.text("launch", name(what.launch));
  add_summary(rows, "warm", measured.warm);
  add_summary(rows, "cold", measured.cold);
  for (const auto stage : model::all_stages()) {
    const auto found = std::find_if(measured.stages.begin(), measured.stages.end(),
                                    [&](const StageTime& each) { return each.stage == stage; });
    // A stage that does not run takes no time.
    rows.real(stage_column(stage), found == measured.stages.end() ? 0 : found->time.value);
  }
  rows.text("kernel_source", measured.kernel_source);
  add_card(rows, measured.card);
  rows.integer("attempts", entry.attempts);
  rows.integer("disturbed", entry.disturbed);
  rows.real("repeat_ratio", entry.repeat_ratio);
  rows.integer("composed", entry.composed ? 1 : 0);
  rows.real("composed_warm_us", entry.composed_warm.value);
  rows.real("composed_cold_us", entry.composed_cold.value);
}

// The columns of add_row that read_full_table asks for.
const std::vector<perfdb::ColumnRequest>& kept_columns() {
  static const auto kStageNames = [] {
    std::vector<std::string> names;
    for (const auto stage : model::all_stages()) names.push_back(stage_column(stage));
    return names;
  }();
  static const auto kRequests = [] {
    using enum ColumnType;
    std::vector<perfdb::ColumnRequest> asked;
    for (const char* text : {"phase", "requests", "kv", "gemm", "indexer_role", "scores", "launch",
                             "kernel_source", "throttle_reasons"}) {
      asked.push_back({text, kText});
    }
    for (const char* integer : {"heads", "sm_mhz", "memory_mhz", "clocks_locked", "temperature_c",
                                "attempts", "disturbed", "composed"}) {
      asked.push_back({integer, kInt});
    }
    for (const char* real :
         {"warm_median_us", "warm_p10_us", "warm_p90_us", "warm_count", "warm_ci95",
          "cold_median_us", "cold_p10_us", "cold_p90_us", "cold_count", "cold_ci95", "power_w",
          "energy_j", "repeat_ratio", "composed_warm_us", "composed_cold_us"}) {
      asked.push_back({real, kReal});
    }
    // A table from before a stage was known has no column for it.
    for (const auto& stage : kStageNames) asked.push_back({stage, kReal, true});
    return asked;
  }();
  return kRequests;
}

// Those of gemm_table.
const std::vector<perfdb::ColumnRequest>& kept_gemm_columns() {
  static const auto kRequests = [] {
    using enum ColumnType;
    std::vector<perfdb::ColumnRequest> asked;
    for (const char* text : {"kernel_source", "gemm_dtype", "throttle_reasons"}) {
      asked.push_back({text, kText});
    }
    for (const char* integer :
         {"m", "n", "k", "sm_mhz", "memory_mhz", "clocks_locked", "temperature_c"}) {
      asked.push_back({integer, kInt});
    }
    for (const char* real : {"warm_median_us", "warm_p10_us", "warm_p90_us", "warm_count",
                             "warm_ci95", "cold_median_us", "cold_p10_us", "cold_p90_us",
                             "cold_count", "cold_ci95", "power_w", "energy_j"}) {
      asked.push_back({real, kReal});
    }
    return asked;
  }();
  return kRequests;
}

class TableReader {
 public:
  TableReader(const perfdb::Columns& columns, const std::vector<perfdb::ColumnRequest>& asked)
      : columns_(columns), asked_(asked) {}

  Result<TableContent> layers() { return read(kTableFormat, &TableReader::row); }
  Result<TableContent> products() { return read(kGemmFormat, &TableReader::product); }

 private:
  Result<TableContent> read(std::string_view format,
                            Result<Entry> (TableReader::*row_at)(std::size_t) const) {
    if (said("format") != format) {
      return fail(Errc::kParse, "format '{}' is not {}", said("format"), format);
    }
    TableContent content;
    content.header = {.model = said("model"),
                      .architecture = said("architecture"),
                      .source = {.framework = said("framework"),
                                 .version = said("version"),
                                 .device = said("device"),
                                 .driver = said("driver"),
                                 .method = said("method")}};
    for (std::size_t i = 0; i < columns_.rows; ++i) {
      DSAPERF_TRY_ASSIGN(auto entry, (this->*row_at)(i));
      content.entries.insert_or_assign(entry.what.id(), std::move(entry));
    }
    return content;
  }

  std::string said(const char* key) const {
    const auto found = columns_.metadata.find(key);
    return found == columns_.metadata.end() ? std::string() : found->second;
  }
  const perfdb::Column& column(std::string_view name) const {
    const auto found = std::ranges::find(asked_, name, &perfdb::ColumnRequest::name);
    return columns_[static_cast<std::size_t>(found - asked_.begin())];
  }
  const std::string& text(std::string_view name, std::size_t row) const {
    const auto& values = column(name);
    return values.values[static_cast<std::size_t>(values.codes[row])];
  }
  int integer(std::string_view name, std::size_t row) const {
    return static_cast<int>(column(name).ints[row]);
  }
  double real(std::string_view name, std::size_t row) const { return column(name).reals[row]; }

  Summary summary(const std::string& state, std::size_t row) const {
    return {.median = {real(state + "_median_us", row)},
            .p10 = {real(state + "_p10_us", row)},
            .p90 = {real(state + "_p90_us", row)},
            .count = static_cast<int>(real(state + "_count", row)),
            .ci95 = real(state + "_ci95", row)};
  }

  Result<Entry> row(std::size_t i) const {
    auto what = Case::from_id(fmt::format("{}/{}/h{}/kv_{}/gemm_{}/{}/{}/{}", text("phase", i),
                                          text("requests", i), integer("heads", i), text("kv", i),
                                          text("gemm", i), text("indexer_role", i),
                                          text("scores", i), text("launch", i)));
    if (!what) {
      return tl::unexpected(std::move(what).error().with_context(fmt::format("row {}", i)));
    }
    Entry entry{.what = *std::move(what),
                .attempts = integer("attempts", i),
                .disturbed = integer("disturbed", i),
                .repeat_ratio = real("repeat_ratio", i),
                .composed = integer("composed", i) != 0,
                .composed_warm = {real("composed_warm_us", i)},
                .composed_cold = {real("composed_cold_us", i)}};
    auto& measured = entry.measurement;
    measured.warm = summary("warm", i);
    measured.cold = summary("cold", i);
    for (const auto stage : model::all_stages()) {
      const auto name = stage_column(stage);
      if (!column(name).present || real(name, i) == 0) continue;
      measured.stages.push_back({.stage = stage, .time = {real(name, i)}});
    }
    measured.kernel_source = text("kernel_source", i);
    measured.card = card(i);
    return entry;
  }

  Result<Entry> product(std::size_t i) const {
    const auto& dtype = text("gemm_dtype", i);
    const auto format = collect::weight_format_from(dtype == "bfloat16" ? "bf16" : dtype);
    if (!format) return fail(Errc::kParse, "row {}: gemm_dtype '{}' is not known", i, dtype);
    Entry entry{.what = {.gemm = *format,
                         .product = GemmSizes{.m = column("m").ints[i],
                                              .n = column("n").ints[i],
                                              .k = column("k").ints[i]}},
                .attempts = 1};
    entry.measurement = {.cold = summary("cold", i),
                         .warm = summary("warm", i),
                         .card = card(i),
                         .kernel_source = text("kernel_source", i)};
    return entry;
  }

  CardState card(std::size_t i) const {
    CardState state = {.sm_mhz = integer("sm_mhz", i),
                       .memory_mhz = integer("memory_mhz", i),
                       .clocks_locked = integer("clocks_locked", i) != 0,
                       .power_w = real("power_w", i),
                       .energy_j = real("energy_j", i),
                       .temperature_c = integer("temperature_c", i)};
    for (const auto reason : split(text("throttle_reasons", i), ','))
      if (!trimmed(reason).empty()) state.throttle_reasons.emplace_back(trimmed(reason));
    return state;
  }

  const perfdb::Columns& columns_;
  const std::vector<perfdb::ColumnRequest>& asked_;
};

template <typename Format>  // of a cache or of projections
std::string dtype_of(Format format) {
  return std::string(perfdb::table_dtype(model::name(format)));
}

perfdb::DsaSlice slice_of(const JournalHeader& header, const Entry& entry) {
  const auto& what = entry.what;
  const bool shared = what.role == model::IndexerRole::kShared;
  return {.model = header.model,
          .architecture = header.architecture,
          .mla_dtype = "bfloat16",
          .kv_dtype = dtype_of(what.kv),
          .gemm_dtype = dtype_of(what.gemm),
          .op_name = fmt::format("dsa_{}_module{}", perfdb::name(what.phase),
                                 shared ? "_skip_indexer" : ""),
          .kernel_source = perfdb::marked_kernel(entry.measurement.kernel_source, entry.composed),
          .shares_selection = shared};
}

std::vector<std::filesystem::path> journals_at(const std::filesystem::path& place) {
  if (!std::filesystem::is_directory(place)) return {place};
  std::vector<std::filesystem::path> found;
  std::error_code ignored;  // an unreadable folder gives none, which the caller reports
  for (const auto& entry : std::filesystem::directory_iterator(place, ignored)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("rows") && name.ends_with(".jsonl")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool same_subject(const JournalHeader& a, const JournalHeader& b) {
  return a.model == b.model && a.source.device == b.source.device &&
         a.source.version == b.source.version && a.source.method == b.source.method;
}

// What a row is worth beside another of the same case.
int rank(const Entry& entry) {
  if (!entry.error.empty()) return 0;
  return entry.composed ? 1 : 2;
}

void add_entry(Merged& merged, const std::string& id, const Entry& entry) {
  const auto [found, is_new] = merged.entries.emplace(id, entry);
  if (is_new) return;
  auto& kept = found->second;
  if (rank(entry) > rank(kept)) {
    kept = entry;
  } else if (rank(entry) == rank(kept) && entry.error.empty() &&
             kept.measurement.warm.median != entry.measurement.warm.median) {
    merged.conflicts.push_back(fmt::format("{}: {:.2f} us and {:.2f} us", id,
                                           kept.measurement.warm.median.value,
                                           entry.measurement.warm.median.value));
  }
}

}  // namespace

FullTable full_table(const JournalHeader& header, const std::map<std::string, Entry>& entries) {
  Rows rows;
  for (const auto& [id, entry] : entries) {
    if (entry.error.empty() && entry.what.whole()) add_row(rows, entry);
  }
  return {.columns = rows.take(), .metadata = metadata_of(header, kTableFormat)};
}

FullTable gemm_table(const JournalHeader& header, const std::map<std::string, Entry>& entries) {
  const auto is_row = [](const Entry& entry) { return entry.what.product && entry.error.empty(); };
  const bool any_graph = std::ranges::any_of(entries, [&](const auto& each) {
    return is_row(each.second) && each.second.what.launch == Launch::kGraph;
  });
  Rows rows;
  for (const auto& [id, entry] : entries) {
    if (!is_row(entry) || (any_graph && entry.what.launch != Launch::kGraph)) continue;
    const auto& measured = entry.measurement;
    rows.text("framework", header.source.framework);
    rows.text("version", header.source.version);
    rows.text("device", header.source.device);
    rows.text("op_name", "gemm");
    rows.text("kernel_source", measured.kernel_source);
    rows.text("gemm_dtype", dtype_of(entry.what.gemm));
    rows.integer("m", entry.what.product->m);
    rows.integer("n", entry.what.product->n);
    rows.integer("k", entry.what.product->k);
    rows.real("latency", measured.warm.median.millis());
    add_summary(rows, "warm", measured.warm);
    add_summary(rows, "cold", measured.cold);
    add_card(rows, measured.card);
  }
  return {.columns = rows.take(), .metadata = metadata_of(header, kGemmFormat)};
}

Result<TableContent> read_full_table(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto columns, perfdb::read_columns(path, kept_columns()));
  return TableReader(columns, kept_columns()).layers().map_error([&](Error error) {
    return std::move(error).with_context(path.native());
  });
}

Result<TableContent> read_gemm_table(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto columns, perfdb::read_columns(path, kept_gemm_columns()));
  return TableReader(columns, kept_gemm_columns()).products().map_error([&](Error error) {
    return std::move(error).with_context(path.native());
  });
}

perfdb::DsaTable dsa_table(const JournalHeader& header, const std::map<std::string, Entry>& entries,
                           perfdb::Phase phase, const DsaTableOptions& options) {
  perfdb::DsaTable table;
  table.phase = phase;
  for (const auto& [id, entry] : entries) {
    const auto& what = entry.what;
    if (!entry.error.empty() || what.phase != phase) continue;
    if (!what.whole() || !what.uniform()) continue;
    if (what.scores != options.scores || what.launch != options.launch) continue;
    const auto& group = what.requests.front();
    if (phase == perfdb::Phase::kGeneration && group.new_tokens != 1) continue;
    const auto slice = slice_of(header, entry);
    auto found = std::find(table.slices.begin(), table.slices.end(), slice);
    if (found == table.slices.end()) found = table.slices.insert(found, slice);
    table.rows.push_back({.slice = static_cast<std::int32_t>(found - table.slices.begin()),
                          .heads = what.heads,
                          .batch = static_cast<std::int32_t>(group.count),
                          .new_tokens = static_cast<std::int32_t>(group.new_tokens),
                          .past_tokens = static_cast<std::int32_t>(group.past_tokens),
                          .source = 0,
                          .latency = entry.measurement.warm.median,
                          .p10 = entry.measurement.warm.p10,
                          .p90 = entry.measurement.warm.p90});
  }
  return table;
}

Result<Merged> merge_journals(const std::vector<std::filesystem::path>& places) {
  Merged merged;
  bool first = true;
  for (const auto& place : places) {
    const auto journals = journals_at(place);
    if (journals.empty()) {
      return fail(Errc::kNotFound, "{}: no journal (rows*.jsonl) of dsaperf collect in it",
                  place.native());
    }
    for (const auto& path : journals) {
      DSAPERF_TRY_ASSIGN(const auto content, read_journal(path));
      if (first) merged.header = content.header;
      first = false;
      if (!same_subject(merged.header, content.header)) {
        return fail(Errc::kInvalidArgument,
                    "{}: is of {} on {} (version {}), the others of {} on {} (version {})",
                    path.native(), content.header.model, content.header.source.device,
                    content.header.source.version, merged.header.model, merged.header.source.device,
                    merged.header.source.version);
      }
      for (const auto& [id, entry] : content.entries) add_entry(merged, id, entry);
    }
  }
  merged.header.shard = {};
  return merged;
}

}  // namespace dsaperf::collect
