#include "dsaperf/report/table_list.hpp"

#include "dsaperf/core/fail.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace dsaperf::report {
namespace {

using perfdb::Phase;

void summarise(const perfdb::DsaTable& table, TableSummary& out) {
  std::set<std::string> architectures, kv, gemm, kernels;
  for (const auto& slice : table.slices) {
    architectures.insert(slice.architecture);
    kv.insert(slice.kv_dtype);
    gemm.insert(slice.gemm_dtype);
    kernels.insert(slice.kernel_source);
  }
  std::set<std::int32_t> heads;
  out.rows = table.rows.size();
  for (const auto& row : table.rows) {
    heads.insert(row.heads);
    out.max_past_tokens = std::max<std::int64_t>(out.max_past_tokens, row.past_tokens);
    out.max_new_tokens = std::max<std::int64_t>(out.max_new_tokens, row.new_tokens);
    out.max_batch = std::max<std::int64_t>(out.max_batch, row.batch);
    if (table.slices[static_cast<std::size_t>(row.slice)].shares_selection)
      ++out.shared_selection_rows;
  }
  const auto defects = perfdb::find_defects(table);
  out.repeated_rows = defects.repeated_rows;
  out.unusable_rows = defects.unusable_rows;
  out.architectures.assign(architectures.begin(), architectures.end());
  out.kv_dtypes.assign(kv.begin(), kv.end());
  out.gemm_dtypes.assign(gemm.begin(), gemm.end());
  out.kernel_sources.assign(kernels.begin(), kernels.end());
  out.heads.assign(heads.begin(), heads.end());
}

std::string slot_of(const std::optional<perfdb::VersionSlots>& slots, const std::string& version) {
  if (!slots) return "";
  if (version == slots->current) return "current";
  if (version == slots->previous) return "previous";
  return version == slots->next ? "next" : "";
}

}  // namespace

Result<std::vector<TableSummary>> list_tables(const perfdb::SystemsTree& tree,
                                              std::string_view system) {
  std::vector<std::string> systems = tree.systems();
  if (!system.empty()) {
    DSAPERF_TRY(tree.system(system));
    systems = {std::string(system)};
  }
  std::vector<TableSummary> found;
  for (const auto& name : systems) {
    DSAPERF_TRY_ASSIGN(const auto backends, tree.backends(name));
    for (const auto& backend : backends) {
      DSAPERF_TRY_ASSIGN(const auto slots, tree.slots(name, backend));
      DSAPERF_TRY_ASSIGN(const auto versions, tree.versions(name, backend));
      for (const auto& version : versions) {
        for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
          DSAPERF_TRY_ASSIGN(const auto sources,
                             tree.sources(name, backend, version, perfdb::dsa_table_file(phase)));
          if (sources.empty() || sources.front().channel != perfdb::SourceChannel::kPrimary)
            continue;
          TableSummary summary;
          summary.system = name;
          summary.backend = backend;
          summary.version = version;
          summary.slot = slot_of(slots, version);
          summary.phase = phase;
          summary.file = sources.front().path.native();
          // The first file alone: what else answers for a version is other versions' own.
          const auto table = tree.is_shipped()
                                 ? perfdb::load_dsa_table(tree, name, backend, version, phase)
                                 : perfdb::read_dsa_file(sources.front().path, phase);
          if (table) {
            summarise(*table, summary);
          } else {
            summary.error = table.error().message();
          }
          found.push_back(std::move(summary));
        }
      }
    }
  }
  return found;
}

std::string text(const std::vector<TableSummary>& tables, const TextStyle& style) {
  using Align = TextTable::Align;
  TextTable table({{.title = "system"},
                   {.title = "backend"},
                   {.title = "phase"},
                   {.title = "rows", .align = Align::kRight},
                   {.title = "cache"},
                   {.title = "heads", .align = Align::kLeft},
                   {.title = "longest", .align = Align::kRight},
                   {.title = "defects"}});
  for (const auto& t : tables) {
    const auto version = t.backend + " " + t.version + (t.slot.empty() ? "" : " (" + t.slot + ")");
    if (!t.error.empty()) {
      table.add_row(
          {t.system, version, std::string(perfdb::name(t.phase)), "", "", "", "", t.error});
      continue;
    }
    std::string defects;
    if (t.repeated_rows > 0) defects += fmt::format("{} repeated", t.repeated_rows);
    if (t.unusable_rows > 0)
      defects +=
          fmt::format("{}{} without a latency", defects.empty() ? "" : ", ", t.unusable_rows);
    table.add_row({t.system, version, std::string(perfdb::name(t.phase)), std::to_string(t.rows),
                   fmt::format("{}", fmt::join(t.kv_dtypes, " ")),
                   fmt::format("{}", fmt::join(t.heads, " ")),
                   std::to_string(t.max_new_tokens + t.max_past_tokens), defects});
  }
  return table.str(style);
}

nlohmann::ordered_json json(const std::vector<TableSummary>& tables,
                            const perfdb::SystemsTree& tree) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& t : tables) {
    list.push_back({{"system", t.system},
                    {"backend", t.backend},
                    {"version", t.version},
                    {"slot", t.slot},
                    {"phase", perfdb::name(t.phase)},
                    {"file", t.file},
                    {"rows", t.rows},
                    {"shared_selection_rows", t.shared_selection_rows},
                    {"repeated_rows", t.repeated_rows},
                    {"unusable_rows", t.unusable_rows},
                    {"architectures", t.architectures},
                    {"kv_cache_dtypes", t.kv_dtypes},
                    {"gemm_dtypes", t.gemm_dtypes},
                    {"kernel_sources", t.kernel_sources},
                    {"heads", t.heads},
                    {"max_new_tokens", t.max_new_tokens},
                    {"max_past_tokens", t.max_past_tokens},
                    {"max_batch", t.max_batch},
                    {"error", t.error}});
  }
  return {{"format", "dsaperf.db_ls.1"},
          {"root", tree.root().native()},
          {"tables", std::move(list)},
          {"warnings", nlohmann::ordered_json::array()}};
}

}  // namespace dsaperf::report
