#include "dsaperf/report/lint.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/perfdb/aic_export.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/predict/stages/setting.hpp"
#include "dsaperf/report/slice_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <memory>

namespace dsaperf::report {
namespace {

using nlohmann::ordered_json;
using perfdb::DsaRow;
using perfdb::DsaSlice;
using perfdb::LintFinding;

// topk of every published DSA model so far; used where a slice names a model that is not bundled.
constexpr int kUsualTopk = 2048;

Result<perfdb::DsaTable> read_table(const std::filesystem::path& path, perfdb::Phase phase) {
  if (!is_own_table(path)) return perfdb::read_dsa_file(path, phase);
  DSAPERF_TRY_ASSIGN(auto own, perfdb::read_own_table(path, phase));
  return std::move(own.table);
}

std::vector<perfdb::Phase> phases_in(const std::filesystem::path& path) {
  using enum perfdb::Phase;
  if (is_own_table(path)) return {kContext, kGeneration};
  return {path.filename() == perfdb::dsa_table_file(kContext) ? kContext : kGeneration};
}

// The layer that a slice measured, or empty for a model that is not bundled.
std::optional<model::LayerPlan> layer_of(const DsaSlice& slice) {
  const auto spec = model::load_model(slice.model);
  if (!spec) return std::nullopt;
  auto layer = model::typical_layer(*spec);
  if (slice.shares_selection) layer.indexer_role = model::IndexerRole::kShared;
  const auto format = predict::stages::weight_format(slice.gemm_dtype);
  layer.formats = {format, format, format, format, format, format};
  return layer;
}

std::optional<std::string> card_of(const std::filesystem::path& file,
                                   const std::vector<std::string>& known) {
  for (auto folder = file.parent_path(); folder.has_filename(); folder = folder.parent_path()) {
    auto name = folder.filename().string();
    // As our own tables stand beside AIConfigurator's.
    if (name.ends_with(perfdb::kOwnSystemSuffix))
      name.resize(name.size() - perfdb::kOwnSystemSuffix.size());
    if (std::find(known.begin(), known.end(), name) != known.end()) return name;
  }
  return std::nullopt;
}

// How latencies of one card may stand to those of another: between what arithmetic, memory and the
// host, which is the same for both, make of them.
std::pair<double, double> proportion(const cost::SystemSpec& card, const cost::SystemSpec& other) {
  std::pair<double, double> range{1, 1};
  const auto take = [&](double ratio) {
    range.first = std::min(range.first, ratio);
    range.second = std::max(range.second, ratio);
  };
  take(other.hbm_bytes_per_s / card.hbm_bytes_per_s);
  for (const auto format : {cost::MathFormat::kBf16, cost::MathFormat::kFp8}) {
    if (card.peak(format) && other.peak(format)) take(*other.peak(format) / *card.peak(format));
  }
  return range;
}

Result<void> compare_with_siblings(LintedTable& linted, const cost::SystemSpec& card,
                                   const std::filesystem::path& data,
                                   const std::vector<std::string>& known) {
  const auto path = std::filesystem::absolute(linted.path);
  for (const auto& name : known) {
    if (name == card.name) continue;
    std::filesystem::path sibling;
    for (const auto& part : path) {
      const auto text = part.string();
      if (text == card.name)
        sibling /= name;
      else if (text == perfdb::own_system(card.name))
        sibling /= perfdb::own_system(name);
      else
        sibling /= text;
    }
    if (sibling == path || !std::filesystem::exists(sibling)) continue;
    DSAPERF_TRY_ASSIGN(const auto other, cost::find_system(data, name));
    if (!card.sm_version || card.sm_version != other.sm_version) continue;
    DSAPERF_TRY_ASSIGN(const auto table, read_table(sibling, linted.table.phase));
    const auto [least, most] = proportion(card, other);
    auto findings = perfdb::lint_siblings(linted.table, table, least, most);
    linted.findings.insert(linted.findings.end(), findings.begin(), findings.end());
    linted.siblings.push_back(name);
  }
  return {};
}

std::vector<std::filesystem::path> table_files(const std::filesystem::path& place) {
  const auto is_table = [](const std::filesystem::path& path) {
    if (is_own_table(path)) return path.extension() == ".parquet";
    return path.filename() == perfdb::dsa_table_file(perfdb::Phase::kContext) ||
           path.filename() == perfdb::dsa_table_file(perfdb::Phase::kGeneration);
  };
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_regular_file(place)) files.push_back(place);
  std::error_code ignored;  // a folder that cannot be read holds no table that we could check
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           place, std::filesystem::directory_options::skip_permission_denied, ignored)) {
    if (is_table(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string row_text(const DsaRow& row) {
  return fmt::format("heads {} batch {} new {} past {}: {:.4f} ms", row.heads, row.batch,
                     row.new_tokens, row.past_tokens, row.latency.millis());
}

std::string ratio_text(double ratio) {
  return ratio > 0 ? fmt::format("{:.2f}", ratio) : "";
}

}  // namespace

perfdb::LintPhysics lint_physics(const std::optional<cost::SystemSpec>& system) {
  struct Known {
    std::map<std::string, std::optional<model::LayerPlan>> layers;
    const std::optional<model::LayerPlan>& of(const DsaSlice& slice) {
      const auto key =
          slice.model + '/' + slice.gemm_dtype + (slice.shares_selection ? "/s" : "/f");
      const auto found = layers.find(key);
      return found != layers.end() ? found->second
                                   : layers.emplace(key, layer_of(slice)).first->second;
    }
  };
  const auto known = std::make_shared<Known>();
  return {.topk =
              [known](const DsaSlice& slice) {
                const auto& layer = known->of(slice);
                return layer && layer->indexer ? layer->indexer->topk : kUsualTopk;
              },
          .bound = [known, system](const DsaSlice& slice, perfdb::Phase phase,
                                   const DsaRow& row) -> std::optional<Micros> {
            const auto& layer = known->of(slice);
            if (!layer || !system) return std::nullopt;
            const auto kv =
                slice.kv_dtype == "fp8" ? model::KvFormat::kFp8 : model::KvFormat::kBf16;
            const auto bound_of = [&](const cost::Shape& shape) -> std::optional<Micros> {
              const auto cost = cost::layer_cost(*layer, shape);
              if (!cost) return std::nullopt;
              return cost::bound(*cost, *system);
            };
            // Short prompts may be attended over the latent rows or over expanded ones, whichever
            // is less for their size; a bound holds for both.
            const auto absorbed = bound_of(
                cost::Shape::decode(row.batch, row.new_tokens, row.past_tokens, row.heads, kv));
            if (phase == perfdb::Phase::kGeneration) return absorbed;
            const auto expanded = bound_of(
                cost::Shape::prefill(row.batch, row.new_tokens, row.past_tokens, row.heads, kv));
            if (!absorbed || !expanded) return absorbed ? absorbed : expanded;
            return std::min(*absorbed, *expanded);
          }};
}

LintedTable lint_table(const std::filesystem::path& path, perfdb::DsaTable table,
                       const std::optional<cost::SystemSpec>& system) {
  auto findings = perfdb::lint(table, lint_physics(system));
  return {.path = path, .table = std::move(table), .findings = std::move(findings)};
}

Result<LintedPlace> lint_tables(const std::filesystem::path& place) {
  if (!std::filesystem::exists(place)) {
    return fail(Errc::kNotFound, "{}: there is no such file or folder", place.native());
  }
  const auto files = table_files(place);
  if (files.empty()) {
    return fail(Errc::kNotFound,
                "{}: no dsa_context_module_perf.parquet, "
                "dsa_generation_module_perf.parquet or table of dsaperf collect in it",
                place.native());
  }
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  DSAPERF_TRY_ASSIGN(const auto known, cost::system_names(data));
  LintedPlace linted;
  for (const auto& file : files) {
    // What is named is to be a table; beside tables there may be anything.
    if (file != place && is_own_table(file)) {
      DSAPERF_TRY_ASSIGN(const auto about, perfdb::read_columns(file, {}));
      if (!about.metadata.contains("format")) {
        linted.left_out.push_back(file);
        continue;
      }
    }
    std::optional<cost::SystemSpec> system;
    if (const auto card = card_of(std::filesystem::absolute(file), known)) {
      DSAPERF_TRY_ASSIGN(system, cost::find_system(data, *card));
    }
    for (const auto phase : phases_in(file)) {
      DSAPERF_TRY_ASSIGN(auto table, read_table(file, phase));
      linted.tables.push_back(lint_table(file, std::move(table), system));
      if (system) DSAPERF_TRY(compare_with_siblings(linted.tables.back(), *system, data, known));
    }
  }
  if (linted.tables.empty())
    return fail(Errc::kNotFound, "{}: {} Parquet files, none of them a table of dsaperf collect",
                place.native(), linted.left_out.size());
  return linted;
}

// AIConfigurator's tables are all called so; of them these two are linted. Ours are called after
// the piece of a collection that they are.
bool is_own_table(const std::filesystem::path& path) {
  return !path.filename().native().ends_with("_perf.parquet");
}

bool is_clean(const std::vector<LintedTable>& tables) {
  return std::all_of(tables.begin(), tables.end(), [](const LintedTable& linted) {
    return std::all_of(linted.findings.begin(), linted.findings.end(),
                       [](const LintFinding& finding) { return perfdb::is_note(finding.rule); });
  });
}

std::string text(const std::vector<LintedTable>& tables, std::size_t rows, const TextStyle& style) {
  std::string result;
  for (const auto& linted : tables) {
    result += fmt::format("{}: {} rows\n", linted.path.native(), linted.table.rows.size());
    TextTable table({{"rule"},
                     {"slice"},
                     {"rows", TextTable::Align::kRight},
                     {"of", TextTable::Align::kRight},
                     {"median", TextTable::Align::kRight},
                     {"worst", TextTable::Align::kRight}});
    std::string listed;
    for (const auto& finding : linted.findings) {
      const auto& slice = linted.table.slices[static_cast<std::size_t>(finding.slice)];
      table.add_row({TextTable::Cell(std::string(perfdb::name(finding.rule)),
                                     perfdb::is_note(finding.rule) ? Tone::kFaint : Tone::kWarning),
                     slice_text(slice), fmt::format("{}", finding.rows.size()),
                     fmt::format("{}", finding.compared), ratio_text(finding.median_ratio),
                     ratio_text(finding.worst_ratio)});
      for (std::size_t k = 0; k < std::min(rows, finding.rows.size()); ++k) {
        listed += fmt::format("  {}: {}, {}\n", perfdb::name(finding.rule), slice_text(slice),
                              row_text(linted.table.rows[finding.rows[k]]));
      }
    }
    result += table.empty() ? "  clean\n" : table.str(style);
    result += listed + '\n';
  }
  return result;
}

ordered_json json(const std::vector<LintedTable>& tables) {
  ordered_json list = ordered_json::array();
  for (const auto& linted : tables) {
    ordered_json findings = ordered_json::array();
    for (const auto& finding : linted.findings) {
      const auto& slice = linted.table.slices[static_cast<std::size_t>(finding.slice)];
      ordered_json rows = ordered_json::array();
      for (const auto i : finding.rows) {
        const auto& row = linted.table.rows[i];
        rows.push_back({{"row", i},
                        {"heads", row.heads},
                        {"batch", row.batch},
                        {"new_tokens", row.new_tokens},
                        {"past_tokens", row.past_tokens},
                        {"latency_ms", row.latency.millis()}});
      }
      findings.push_back({{"rule", perfdb::name(finding.rule)},
                          {"meaning", perfdb::meaning(finding.rule)},
                          {"note", perfdb::is_note(finding.rule)},
                          {"model", slice.model},
                          {"architecture", slice.architecture},
                          {"kv_dtype", slice.kv_dtype},
                          {"gemm_dtype", slice.gemm_dtype},
                          {"shares_selection", slice.shares_selection},
                          {"kernel_source", slice.kernel_source},
                          {"compared", finding.compared},
                          {"median_ratio", finding.median_ratio},
                          {"worst_ratio", finding.worst_ratio},
                          {"rows", std::move(rows)}});
    }
    list.push_back({{"path", linted.path.string()},
                    {"rows", linted.table.rows.size()},
                    {"siblings", linted.siblings},
                    {"findings", std::move(findings)}});
  }
  return {
      {"format", "dsaperf.db.lint.1"}, {"clean", is_clean(tables)}, {"tables", std::move(list)}};
}

}  // namespace dsaperf::report
