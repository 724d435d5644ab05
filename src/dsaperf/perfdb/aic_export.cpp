#include "dsaperf/perfdb/aic_export.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/row_key.hpp"
#include "dsaperf/perfdb/yaml_file.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace dsaperf::perfdb {
namespace {

constexpr std::string_view kFamily = "sparse_attention";

std::string row_text(const DsaTable& table, const DsaRow& row) {
  const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
  return fmt::format("{} {} kv {} gemm {} heads {} batch {} new {} past {}", name(table.phase),
                     slice.architecture, slice.kv_dtype, slice.gemm_dtype, row.heads, row.batch,
                     row.new_tokens, row.past_tokens);
}

Result<void> refuse_what_is_swallowed(const DsaTable& table) {
  std::set<decltype(row_key(table, table.rows.front()))> keys;
  for (const auto& row : table.rows) {
    if (!std::isfinite(row.latency.value) || row.latency.value <= 0) {
      return fail(Errc::kInvalidArgument, "{}: latency {} ms would be answered as it stands",
                  row_text(table, row), row.latency.millis());
    }
    if (!keys.insert(row_key(table, row)).second) {
      return fail(Errc::kInvalidArgument,
                  "{}: two rows have this key; the last would win without a word",
                  row_text(table, row));
    }
  }
  return {};
}

// The slices of an architecture that its published checkpoints ask for.
void warn_of_missing(const DsaTable& table, std::vector<std::string>& warnings) {
  std::map<std::string, std::set<std::string>> gemms;
  std::map<std::string, std::set<std::string>> caches;
  std::set<std::string> with_shared;
  for (const auto& slice : table.slices) {
    gemms[slice.architecture].insert(slice.gemm_dtype);
    caches[slice.architecture].insert(slice.kv_dtype);
    if (slice.shares_selection) with_shared.insert(slice.architecture);
  }
  for (const auto& [architecture, present] : gemms) {
    const bool glm = architecture.starts_with("Glm");
    const std::string who = fmt::format("{} {}", name(table.phase), architecture);
    if (glm && !present.contains("bfloat16")) {
      warnings.push_back(who + ": no gemm bfloat16 rows, which GLM-5-FP8 to 5.3-FP8 ask for");
    }
    if (glm && !with_shared.contains(architecture)) {
      warnings.push_back(who + ": no skip_indexer rows, which GLM-5.2 and 5.3 ask for");
    }
    if (!glm && !present.contains("fp8_block")) {
      warnings.push_back(who + ": no gemm fp8_block rows, which DeepSeek-V3.2 asks for");
    }
    for (const char* cache : {"fp8", "bfloat16"}) {
      if (!caches[architecture].contains(cache)) {
        warnings.push_back(fmt::format("{}: no rows with {} cache", who, cache));
      }
    }
  }
}

std::vector<NewColumn> columns_of(const DsaTable& table, const AicExport& what) {
  const auto text = [](const char* column) { return NewColumn{column, ColumnType::kText}; };
  const auto integer = [](const char* column) { return NewColumn{column, ColumnType::kInt}; };
  std::vector<NewColumn> columns = {
      text("framework"),      text("version"),
      text("device"),         text("op_name"),
      text("kernel_source"),  text("model"),
      text("architecture"),   text("mla_dtype"),
      text("kv_cache_dtype"), text("gemm_type"),
      integer("num_heads"),   integer("batch_size"),
      integer("isl"),         integer("tp_size"),
      integer("step"),        NewColumn{"latency", ColumnType::kReal}};
  for (const auto& row : table.rows) {
    const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
    const std::string_view texts[] = {
        what.framework, what.version,       what.device,     slice.op_name,  slice.kernel_source,
        slice.model,    slice.architecture, slice.mla_dtype, slice.kv_dtype, slice.gemm_dtype};
    const std::int64_t ints[] = {row.heads, row.batch, row.new_tokens, 1, row.past_tokens};
    std::size_t column = 0;
    for (const auto value : texts) columns[column++].texts.emplace_back(value);
    for (const auto value : ints) columns[column++].ints.push_back(value);
    columns[column].reals.push_back(row.latency.millis());
  }
  return columns;
}

Result<std::string> system_yaml(const std::filesystem::path& shipped, const std::string& data_dir) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(shipped, kLongestYaml));
  try {
    auto document = YAML::Load(text);
    document["data_dir"] = data_dir;
    YAML::Emitter emitter;
    emitter.SetDoublePrecision(17);
    emitter << document;
    return std::string(emitter.c_str()) + '\n';
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "{}: line {}: {}", shipped.native(), error.mark.line + 1, error.msg);
  }
}

Result<void> link_family(const std::filesystem::path& target, const std::filesystem::path& link) {
  std::error_code code;
  if (std::filesystem::is_symlink(link, code)) std::filesystem::remove(link, code);
  std::filesystem::create_directory_symlink(target, link, code);
  if (code) return fail(Errc::kIo, "{}: {}", link.native(), code.message());
  return {};
}

Result<void> link_other_families(const std::filesystem::path& shipped,
                                 const std::filesystem::path& own) {
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(shipped, code)) {
    if (!entry.is_directory() || entry.path().filename() == kFamily) continue;
    DSAPERF_TRY(
        link_family(std::filesystem::absolute(entry.path()), own / entry.path().filename()));
  }
  if (code) return fail(Errc::kIo, "{}: {}", shipped.native(), code.message());
  return {};
}

std::string meta_yaml(const AicExport& what, const std::string& version,
                      const std::vector<DsaTable>& tables) {
  std::string text =
      fmt::format("schema_version: 1\nruntime: {{framework: {}, version: \"{}\"}}\ntables:\n",
                  what.backend, version);
  for (const auto& table : tables) {
    const auto stem = std::filesystem::path(dsa_table_file(table.phase)).stem().string();
    text += fmt::format("  {}: {{status: complete}}\n", stem);
  }
  return text;
}

}  // namespace

Result<void> write_dsa_file(const std::filesystem::path& path, const DsaTable& table,
                            const AicExport& what) {
  std::error_code code;
  std::filesystem::create_directories(path.parent_path(), code);
  if (code) return fail(Errc::kIo, "{}: {}", path.parent_path().native(), code.message());
  return write_columns(path, columns_of(table, what), {{"format", "dsaperf.aic_export.1"}});
}

Result<AicExportReport> export_to_aiconfigurator(const std::vector<DsaTable>& tables,
                                                 const AicExport& what,
                                                 const SystemsTree& installed,
                                                 const std::filesystem::path& directory) {
  AicExportReport report;
  for (const auto& table : tables) {
    if (table.rows.empty()) {
      return fail(Errc::kInvalidArgument, "no {} rows to export: AIConfigurator needs both phases",
                  name(table.phase));
    }
    DSAPERF_TRY(refuse_what_is_swallowed(table));
    warn_of_missing(table, report.warnings);
  }
  DSAPERF_TRY_ASSIGN(const auto shipped, installed.system(what.system));
  DSAPERF_TRY_ASSIGN(const auto version,
                     installed.resolve_version(what.system, what.backend, "current"));

  report.system = own_system(what.system);
  const auto data = directory / "data" / report.system;
  const auto folder = data / kFamily / what.backend / version;
  const auto write = [&](const std::filesystem::path& path,
                         const std::string& text) -> Result<void> {
    DSAPERF_TRY(write_file(path, text));
    report.files.push_back(path);
    return {};
  };
  for (const auto& table : tables) {
    const auto path = folder / dsa_table_file(table.phase);
    DSAPERF_TRY(write_dsa_file(path, table, what));
    report.files.push_back(path);
  }
  DSAPERF_TRY(write(folder / "collection_meta.yaml", meta_yaml(what, version, tables)));
  DSAPERF_TRY(link_other_families(shipped.data, data));
  for (const char* shared : {"query_versions.yaml", "perf_data_reuse_manifest.yaml"}) {
    const auto source = installed.root() / shared;
    if (!std::filesystem::exists(source)) continue;
    DSAPERF_TRY_ASSIGN(const auto text, read_file(source, kLongestYaml));
    DSAPERF_TRY(write(directory / shared, text));
  }
  // Last: without it AIConfigurator does not see the system at all.
  DSAPERF_TRY_ASSIGN(const auto yaml, system_yaml(installed.root() / (what.system + ".yaml"),
                                                  "data/" + report.system));
  DSAPERF_TRY(write(directory / (report.system + ".yaml"), yaml));
  return report;
}

}  // namespace dsaperf::perfdb
