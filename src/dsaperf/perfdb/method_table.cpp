#include "dsaperf/perfdb/method_table.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/trimmed.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

namespace dsaperf::perfdb {
namespace {

enum Column {
  kFramework,
  kVersion,
  kDevice,
  kOpName,
  kKernelSource,
  kDtype,
  kHeads,
  kIndexHeads,
  kTopk,
  kBatch,
  kIsl,
  kTp,
  kStep,
  kLatency,
  kColumns
};
constexpr std::array<std::string_view, kColumns> kNames = {
    "framework", "version",   "device",        "op_name",    "kernel_source",
    "dsa_dtype", "num_heads", "index_n_heads", "index_topk", "batch_size",
    "isl",       "tp_size",   "step",          "latency"};

// Warnings name this many rows; the rest is counted.
constexpr std::size_t kNamedRows = 5;

// AIConfigurator's name of a cache's format, whichever a framework gives it.
std::string_view cache_dtype(std::string_view text) {
  for (const std::string_view fp8 : {"fp8_e4m3", "fp8_e4m3fn", "float8_e4m3fn", "fp8_ds_mla"}) {
    if (text == fp8) return "fp8";
  }
  return table_dtype(text);
}

class Reader {
 public:
  Reader(CsvReader csv, const MethodSubject& subject) : csv_(std::move(csv)), subject_(subject) {
    tables_.context.phase = Phase::kContext;
    tables_.generation.phase = Phase::kGeneration;
  }

  Result<MethodTables> read() {
    DSAPERF_TRY_ASSIGN(const bool has_header, csv_.next());
    if (!has_header) return fail(Errc::kParse, "the file is empty");
    DSAPERF_TRY(find_columns());
    if (!has_names()) DSAPERF_TRY(read_row());
    while (true) {
      DSAPERF_TRY_ASSIGN(const bool more, csv_.next());
      if (!more) break;
      DSAPERF_TRY(read_row());
    }
    sum_up();
    if (tables_.context.rows.empty() && tables_.generation.rows.empty()) {
      return fail(Errc::kParse, "there is no usable row of dsa_context or dsa_generation in it");
    }
    return std::move(tables_);
  }

 private:
  // A file that was put together from lines has no names above them.
  bool has_names() const {
    return csv_.fields().size() != kColumns || !parse_double(csv_.field(kLatency));
  }

  Result<void> find_columns() {
    std::vector<std::string_view> names;
    for (const auto field : csv_.fields()) names.push_back(trimmed(field));
    for (std::size_t c = 0; c < kColumns; ++c) {
      const auto found = has_names() ? find_column(names, kNames[c]) : std::optional(c);
      if (!found) return fail(Errc::kParse, "line 1: column '{}' is missing", kNames[c]);
      at_[c] = *found;
    }
    return {};
  }

  void sum_up() {
    if (left_out_ > kNamedRows) {
      tables_.warnings.push_back(fmt::format("{} rows more were left out", left_out_ - kNamedRows));
    }
    if (repeated_ > kNamedRows) {
      tables_.warnings.push_back(fmt::format("{} rows more repeat one", repeated_ - kNamedRows));
    }
    if (other_tp_ > 0) {
      tables_.warnings.push_back(
          fmt::format("num_heads times tp_size is not {}'s {} heads in {} rows: num_heads is taken "
                      "for those of one rank",
                      subject_.model, subject_.heads, other_tp_));
    }
  }

  std::string_view text(Column column) const { return trimmed(csv_.field(at_[column])); }

  // A size that a table can hold.
  std::optional<std::int32_t> size(Column column) const {
    const auto value = parse_int(text(column));
    if (!value || *value < 0 || *value > std::numeric_limits<std::int32_t>::max()) return {};
    return static_cast<std::int32_t>(*value);
  }

  void leave_out(std::string_view why) {
    if (++left_out_ <= kNamedRows) {
      tables_.warnings.push_back(fmt::format("line {} left out: {}", csv_.line(), why));
    }
  }

  Result<void> same(Column column, std::string& first) const {
    if (first.empty()) first = text(column);
    if (first == text(column)) return {};
    return fail(Errc::kParse, "line {}: {} '{}' beside '{}': one file, one {}", csv_.line(),
                kNames[column], text(column), first, kNames[column]);
  }

  Result<void> is_the_models(Column column, int value) const {
    const auto found = size(column);
    if (found && *found == value) return {};
    return fail(Errc::kInvalidArgument, "line {}: {} {} is not {}'s ({})", csv_.line(),
                kNames[column], text(column), subject_.model, value);
  }

  std::int32_t slice(DsaTable& table) const {
    DsaSlice slice{.model = subject_.model,
                   .architecture = subject_.architecture,
                   .mla_dtype = "bfloat16",
                   .kv_dtype = std::string(cache_dtype(text(kDtype))),
                   .gemm_dtype = subject_.gemm_dtype,
                   .op_name = std::string(text(kOpName)),
                   .kernel_source = std::string(text(kKernelSource))};
    slice.shares_selection = slice.op_name.find("skip_indexer") != std::string::npos;
    const auto found = std::ranges::find(table.slices, slice);
    const auto index = static_cast<std::int32_t>(found - table.slices.begin());
    if (found == table.slices.end()) table.slices.push_back(std::move(slice));
    return index;
  }

  Result<void> read_row() {
    const bool context = text(kOpName).starts_with("dsa_context");
    if (!context && !text(kOpName).starts_with("dsa_generation")) {
      ++tables_.other_rows;
      return {};
    }
    DSAPERF_TRY(same(kFramework, tables_.framework));
    DSAPERF_TRY(same(kVersion, tables_.version));
    DSAPERF_TRY(same(kDevice, tables_.device));
    DSAPERF_TRY(is_the_models(kIndexHeads, subject_.index_heads));
    DSAPERF_TRY(is_the_models(kTopk, subject_.topk));
    const auto heads = size(kHeads);
    const auto batch = size(kBatch);
    const auto isl = size(kIsl);
    const auto step = size(kStep);
    const auto latency = parse_double(text(kLatency));
    if (!heads || *heads < 1 || !batch || *batch < 1 || !isl || !step) {
      leave_out("a size is missing or no number");
      return {};
    }
    if (subject_.heads % *heads != 0) {
      return fail(Errc::kInvalidArgument, "line {}: {} heads are no part of {}'s {}", csv_.line(),
                  *heads, subject_.model, subject_.heads);
    }
    if (!latency || !std::isfinite(*latency) || *latency <= 0) {
      leave_out(fmt::format("latency '{}' is not positive", text(kLatency)));
      return {};
    }
    if (const auto tp = size(kTp); !tp || *heads * *tp != subject_.heads) ++other_tp_;
    auto& table = context ? tables_.context : tables_.generation;
    // Older decode lines have the cached tokens in isl, newer ones in step.
    const bool cached_in_isl = !context && *step == 1;
    add(table, {.slice = slice(table),
                .heads = *heads,
                .batch = *batch,
                .new_tokens = context ? *isl : 1,
                .past_tokens = cached_in_isl ? *isl : *step,
                .latency = Micros::from_millis(*latency)});
    return {};
  }

  // A collector that was run again appends: of rows with the same sizes the last counts, as for
  // AIConfigurator.
  void add(DsaTable& table, const DsaRow& row) {
    const auto [found, is_new] = at_sizes_.try_emplace(
        {table.phase, row.slice, row.heads, row.batch, row.new_tokens, row.past_tokens},
        Known{table.rows.size(), csv_.line()});
    if (is_new) {
      table.rows.push_back(row);
      return;
    }
    auto& kept = table.rows[found->second.row];
    if (++repeated_ <= kNamedRows) {
      tables_.warnings.push_back(fmt::format("line {} repeats line {}: {} ms, where there were {}",
                                             csv_.line(), found->second.line, row.latency.millis(),
                                             kept.latency.millis()));
    }
    kept = row;
    found->second.line = csv_.line();
  }

  CsvReader csv_;
  const MethodSubject& subject_;
  std::array<std::size_t, kColumns> at_{};
  MethodTables tables_;
  std::size_t left_out_ = 0;
  std::size_t other_tp_ = 0;
  std::size_t repeated_ = 0;
  struct Known {
    std::size_t row;   // in its table
    std::size_t line;  // of the file
  };
  std::map<std::tuple<Phase, std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int32_t>,
           Known>
      at_sizes_;
};

}  // namespace

Result<MethodTables> read_method_csv(const std::filesystem::path& path,
                                     const MethodSubject& subject) {
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
  return Reader(std::move(csv), subject).read().map_error([&](Error error) {
    return std::move(error).with_context(path.native());
  });
}

Result<MethodTables> parse_method_csv(std::string_view text, const MethodSubject& subject) {
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::over(text));
  return Reader(std::move(csv), subject).read();
}

}  // namespace dsaperf::perfdb
