#include "dsaperf/collect/tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/own_table.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::collect {
namespace {

using perfdb::ColumnType;
using perfdb::NewColumn;

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
    rows.real(fmt::format("{}_us", model::name(stage)),
              found == measured.stages.end() ? 0 : found->time.value);
  }
  rows.text("kernel_source", measured.kernel_source);
  rows.integer("sm_mhz", measured.card.sm_mhz);
  rows.integer("memory_mhz", measured.card.memory_mhz);
  rows.integer("clocks_locked", measured.card.clocks_locked ? 1 : 0);
  rows.real("power_w", measured.card.power_w);
  rows.real("energy_j", measured.card.energy_j);
  rows.integer("temperature_c", measured.card.temperature_c);
  rows.text("throttle_reasons", fmt::format("{}", fmt::join(measured.card.throttle_reasons, ", ")));
  rows.integer("attempts", entry.attempts);
  rows.integer("disturbed", entry.disturbed);
  rows.real("repeat_ratio", entry.repeat_ratio);
  rows.integer("composed", entry.composed ? 1 : 0);
  rows.real("composed_warm_us", entry.composed_warm.value);
  rows.real("composed_cold_us", entry.composed_cold.value);
}

// AIConfigurator's spelling of the cache and projection formats.
std::string aic_dtype(model::KvFormat format) {
  return format == model::KvFormat::kBf16 ? "bfloat16" : "fp8";
}
std::string aic_dtype(model::WeightFormat format) {
  return format == model::WeightFormat::kBf16 ? "bfloat16" : std::string(model::name(format));
}

perfdb::DsaSlice slice_of(const JournalHeader& header, const Entry& entry) {
  const auto& what = entry.what;
  const bool shared = what.role == model::IndexerRole::kShared;
  return {.model = header.model,
          .architecture = header.architecture,
          .mla_dtype = "bfloat16",
          .kv_dtype = aic_dtype(what.kv),
          .gemm_dtype = aic_dtype(what.gemm),
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
  return {.columns = rows.take(),
          .metadata = {{"format", "dsaperf.collect.table.1"},
                       {"model", header.model},
                       {"architecture", header.architecture},
                       {"framework", header.source.framework},
                       {"version", header.source.version},
                       {"device", header.source.device},
                       {"driver", header.source.driver},
                       {"method", header.source.method}}};
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
                          .latency = entry.measurement.warm.median});
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
