#include "dsaperf/perfdb/operator_tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/chosen_rows.hpp"
#include "dsaperf/perfdb/columns.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace dsaperf::perfdb {
namespace {

struct Text {
  std::string_view column;
  bool optional = false;
};
// A column of sizes and where a row keeps it. Sizes beyond 31 bits occur in no axis but message
// sizes (`large`).
template <typename Row>
struct Size {
  std::string_view column;
  std::int32_t Row::* member = nullptr;
  std::int64_t Row::* large = nullptr;
  bool optional = false;  // absent from the file: 0
};

// How a table's columns become kinds and rows.
template <typename Kind, typename Row>
struct Layout {
  std::vector<Text> texts;
  std::vector<Size<Row>> sizes;
  Kind (*kind_of)(const std::vector<std::string>& texts);
  double micros_per_unit = 1e3;  // tables count milliseconds
};

// A size that no 31 bits hold is nonsense: it saturates, and is found by no query.
template <typename Row>
void set(Row& row, const Size<Row>& size, std::int64_t value) {
  if (size.large != nullptr) {
    row.*size.large = value;
  } else {
    row.*size.member = static_cast<std::int32_t>(
        std::min<std::int64_t>(value, std::numeric_limits<std::int32_t>::max()));
  }
}

// Filters count columns as a Layout does: its texts, then its sizes.
template <typename Kind, typename Row>
Result<void> append_file(OperatorTable<Kind, Row>& table, std::size_t source_index,
                         const Layout<Kind, Row>& layout, std::span<const RowFilter> filters) {
  const auto& source = table.sources[source_index];
  std::vector<ColumnRequest> requests;
  for (const auto& text : layout.texts) {
    requests.push_back({.name = text.column, .type = ColumnType::kText, .optional = text.optional});
  }
  for (const auto& size : layout.sizes) {
    requests.push_back({.name = size.column, .type = ColumnType::kInt, .optional = size.optional});
  }
  requests.push_back({.name = "kernel_source", .type = ColumnType::kText, .optional = true});
  requests.push_back({.name = "latency", .type = ColumnType::kReal});
  DSAPERF_TRY_ASSIGN(const auto columns, read_columns(source.path, requests, filters));

  const std::size_t texts = layout.texts.size();
  const std::size_t sizes = layout.sizes.size();
  const auto& kernel = columns[texts + sizes];
  const auto& latency = columns[texts + sizes + 1];
  std::unordered_map<std::uint64_t, std::int32_t>
      kind_of_key;  // -1: rows that this source may not give
  std::uint64_t last_key = UINT64_MAX;
  std::int32_t kind = -1;
  table.rows.reserve(table.rows.size() + columns.rows);
  for (std::size_t i = 0; i < columns.rows; ++i) {
    std::uint64_t key = 0;
    for (std::size_t c = 0; c < texts; ++c) {
      if (columns[c].present) {
        key = key * columns[c].values.size() + static_cast<std::uint64_t>(columns[c].codes[i]);
      }
    }
    if (kernel.present)
      key = key * kernel.values.size() + static_cast<std::uint64_t>(kernel.codes[i]);
    if (key != last_key) {
      last_key = key;
      const auto [found, is_new] = kind_of_key.try_emplace(key, -1);
      if (is_new) {
        const auto text_of = [&](const Column& column) {
          return column.present ? column.values[static_cast<std::size_t>(column.codes[i])]
                                : std::string();
        };
        const auto& allowed = source.kernel_sources;
        const auto kernel_name = text_of(kernel);
        if (allowed.empty() ||
            std::find(allowed.begin(), allowed.end(), kernel_name) != allowed.end()) {
          std::vector<std::string> words;
          for (std::size_t c = 0; c < texts; ++c) words.push_back(text_of(columns[c]));
          words.push_back(kernel_name);
          const auto wanted = layout.kind_of(words);
          const auto known = std::find(table.kinds.begin(), table.kinds.end(), wanted);
          found->second = static_cast<std::int32_t>(known - table.kinds.begin());
          if (known == table.kinds.end()) table.kinds.push_back(wanted);
        }
      }
      kind = found->second;
    }
    if (kind < 0) continue;
    auto& row = table.rows.emplace_back();
    for (std::size_t s = 0; s < sizes; ++s) {
      const auto& column = columns[texts + s];
      const std::int64_t value = column.present ? column.ints[i] : 0;
      if (value < 0) {
        return fail(Errc::kParse, "{}: row {}: {} = {} is no size", source.path.native(),
                    columns.row_number(i), layout.sizes[s].column, value);
      }
      set(row, layout.sizes[s], value);
    }
    row.kind = kind;
    row.source = static_cast<std::int32_t>(source_index);
    row.latency = {latency.reals[i] * layout.micros_per_unit};
  }
  return {};
}

template <typename Kind, typename Row>
Result<OperatorTable<Kind, Row>> load(std::vector<TableSource> sources,
                                      const Layout<Kind, Row>& layout,
                                      std::span<const RowFilter> filters = {}) {
  OperatorTable<Kind, Row> table;
  table.sources = std::move(sources);
  for (std::size_t s = 0; s < table.sources.size(); ++s) {
    DSAPERF_TRY(append_file(table, s, layout, filters));
  }
  return table;
}

template <typename Kind, typename Row>
Result<OperatorTable<Kind, Row>> load(const SystemsTree& tree, std::string_view system,
                                      std::string_view backend, std::string_view version,
                                      std::string_view file, const Layout<Kind, Row>& layout,
                                      std::span<const RowFilter> filters = {}) {
  DSAPERF_TRY_ASSIGN(auto sources, tree.sources(system, backend, version, file));
  if (sources.empty()) {
    return fail(Errc::kNotFound, "{} {} on {}: no {}", backend, version, system, file);
  }
  return load(std::move(sources), layout, filters);
}

}  // namespace

Result<GemmTable> load_gemm_table(const SystemsTree& tree, std::string_view system,
                                  std::string_view backend, std::string_view version) {
  const Layout<GemmKind, GemmRow> layout{
      .texts = {{"gemm_dtype"}},
      .sizes = {{.column = "m", .member = &GemmRow::m},
                {.column = "n", .member = &GemmRow::n},
                {.column = "k", .member = &GemmRow::k}},
      .kind_of = [](const std::vector<std::string>& t) { return GemmKind{t[0], t[1]}; }};
  return load(tree, system, backend, version, kGemmTable, layout);
}

Result<MoeTable> load_moe_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version,
                                std::string_view table) {
  return load_moe_rows(tree, system, backend, version, table, std::nullopt);
}

Result<MoeTable> load_moe_rows(const SystemsTree& tree, std::string_view system,
                               std::string_view backend, std::string_view version,
                               std::string_view table, const std::optional<MoeChoice>& choice) {
  const Layout<MoeKind, MoeRow> layout{
      .texts = {{"moe_dtype"}, {"distribution"}},
      .sizes = {{.column = "num_tokens", .member = &MoeRow::tokens},
                {.column = "hidden_size", .member = &MoeRow::hidden},
                {.column = "inter_size", .member = &MoeRow::inter},
                {.column = "topk", .member = &MoeRow::topk},
                {.column = "num_experts", .member = &MoeRow::experts},
                {.column = "moe_tp_size", .member = &MoeRow::moe_tp},
                {.column = "moe_ep_size", .member = &MoeRow::moe_ep}},
      .kind_of = [](const std::vector<std::string>& t) { return MoeKind{t[0], t[1], t[2]}; }};
  std::vector<RowFilter> filters;
  if (choice) {
    filters = {{.column = 3, .number = choice->hidden},
               {.column = 4, .number = choice->inter},
               {.column = 6, .number = choice->experts},
               {.column = 5, .number = choice->topk},
               {.column = 0, .text = choice->dtype}};
  }
  return load(tree, system, backend, version, table, layout, filters);
}

Result<CommTable> load_allreduce_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version) {
  const Layout<CommKind, CommRow> layout{
      .texts = {{"allreduce_dtype"}, {"backend", true}, {"implementation", true}},
      .sizes = {{.column = "num_gpus", .member = &CommRow::gpus},
                {.column = "message_size", .large = &CommRow::elements}},
      .kind_of = [](const std::vector<std::string>& t) {
        return CommKind{t[0], "all_reduce", t[1].empty() ? t[2] : t[1], t[3]};
      }};
  return load(tree, system, backend, version, "custom_allreduce_perf.parquet", layout);
}

Result<CommTable> load_collective_table(const SystemsTree& tree, std::string_view system,
                                        std::string_view library) {
  const bool is_one = library == "oneccl";
  const Layout<CommKind, CommRow> layout{
      .texts = {{is_one ? "oneccl_dtype" : "nccl_dtype"}, {"op_name"}},
      .sizes = {{.column = "num_gpus", .member = &CommRow::gpus},
                {.column = "message_size", .large = &CommRow::elements}},
      .kind_of = [](const std::vector<std::string>& t) { return CommKind{t[0], t[1], "", t[2]}; }};
  DSAPERF_TRY_ASSIGN(auto source,
                     tree.collective_source(system, library,
                                            is_one ? "oneccl_perf.parquet" : "nccl_perf.parquet"));
  std::vector<TableSource> sources;
  sources.push_back(std::move(source));
  return load(std::move(sources), layout);
}

Result<MlaTable> load_mla_table(const SystemsTree& tree, std::string_view system,
                                std::string_view backend, std::string_view version,
                                std::string_view table) {
  const Layout<MlaKind, MlaRow> layout{
      .texts = {{"model", true},
                {"architecture", true},
                {"mla_dtype"},
                {"kv_cache_dtype"},
                {"gemm_type", true}},
      .sizes = {{.column = "num_heads", .member = &MlaRow::heads},
                {.column = "batch_size", .member = &MlaRow::batch},
                {.column = "isl", .member = &MlaRow::new_tokens},
                {.column = "step", .member = &MlaRow::past_tokens}},
      .kind_of = [](const std::vector<std::string>& t) {
        return MlaKind{t[0], t[1], t[2], t[3], t[4], t[5]};
      }};
  return load(tree, system, backend, version, table, layout);
}

Result<MlaBmmTable> load_mla_bmm_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version) {
  const Layout<MlaBmmKind, MlaBmmRow> layout{
      .texts = {{"bmm_dtype"}, {"op_name"}},
      .sizes = {{.column = "num_tokens", .member = &MlaBmmRow::tokens},
                {.column = "num_heads", .member = &MlaBmmRow::heads}},
      .kind_of = [](const std::vector<std::string>& t) { return MlaBmmKind{t[0], t[1]}; }};
  return load(tree, system, backend, version, "mla_bmm_perf.parquet", layout);
}

Result<ScaleTable> load_scale_table(const SystemsTree& tree, std::string_view system,
                                    std::string_view backend, std::string_view version,
                                    std::string_view table) {
  const Layout<ScaleKind, ScaleRow> layout{
      .texts = {{"quant_dtype"}},
      .sizes = {{.column = "m", .member = &ScaleRow::m}, {.column = "k", .member = &ScaleRow::k}},
      .kind_of = [](const std::vector<std::string>& t) { return ScaleKind{t[0]}; }};
  return load(tree, system, backend, version, table, layout);
}

Result<MoeA2aTable> load_moe_a2a_table(const SystemsTree& tree, std::string_view system,
                                       std::string_view backend, std::string_view version) {
  const Layout<MoeA2aKind, MoeA2aRow> layout{
      .texts = {{"comm_backend"}, {"phase"}, {"comm_dtype"}},
      .sizes = {{.column = "ep_size", .member = &MoeA2aRow::ep},
                {.column = "node_num", .member = &MoeA2aRow::nodes},
                {.column = "hidden_size", .member = &MoeA2aRow::hidden},
                {.column = "topk", .member = &MoeA2aRow::topk},
                {.column = "num_experts", .member = &MoeA2aRow::experts},
                {.column = "sms", .member = &MoeA2aRow::sms, .optional = true},
                {.column = "num_tokens", .member = &MoeA2aRow::tokens}},
      .kind_of = [](const std::vector<std::string>& t) { return MoeA2aKind{t[0], t[1], t[2]}; },
      .micros_per_unit = 1};
  return load(tree, system, backend, version, "moe_a2a_perf.parquet", layout);
}

Result<SparseKernelTable> load_sparse_kernel_table(const SystemsTree& tree, std::string_view system,
                                                   std::string_view backend,
                                                   std::string_view version,
                                                   std::string_view table) {
  const Layout<SparseKernelKind, SparseKernelRow> layout{
      .texts = {{"kv_cache_dtype"}, {"score_mode", true}},
      .sizes = {{.column = "num_heads", .member = &SparseKernelRow::heads},
                {.column = "batch_size", .member = &SparseKernelRow::batch},
                {.column = "isl", .member = &SparseKernelRow::new_tokens},
                {.column = "step", .member = &SparseKernelRow::past_tokens}},
      .kind_of = [](const std::vector<std::string>& t) { return SparseKernelKind{t[0], t[1]}; }};
  return load(tree, system, backend, version, table, layout);
}

}  // namespace dsaperf::perfdb
