#include "dsaperf/predict/query_file.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/gzip.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

namespace dsaperf::predict {
namespace {

using perfdb::Phase;

constexpr std::array<std::string_view, 5> kAdded = {
    "predicted_ms", "predicted_low_ms", "predicted_high_ms", "predicted_source", "predicted_error"};

// Where the columns of a question are.
struct Columns {
  std::size_t system, backend, architecture, phase, heads, kv, gemm, batch, length;
  std::optional<std::size_t> version, fmha, prefix, share, ranks;
};

Result<Columns> find_columns(const std::vector<std::string_view>& header) {
  std::string missing;
  const auto need = [&](std::string_view name) {
    const auto found = find_column(header, name);
    if (!found) missing += (missing.empty() ? "" : ", ") + std::string(name);
    return found.value_or(0);
  };
  Columns columns{.system = need("system"),
                  .backend = need("backend"),
                  .architecture = need("architecture"),
                  .phase = need("phase"),
                  .heads = need("num_heads_local"),
                  .kv = need("kv_cache_dtype"),
                  .gemm = need("gemm_dtype"),
                  .batch = need("batch"),
                  .length = need("new_tokens_or_seq"),
                  .version = find_column(header, "version"),
                  .fmha = find_column(header, "fmha_dtype"),
                  .prefix = find_column(header, "prefix"),
                  .share = find_column(header, "full_layer_fraction"),
                  .ranks = find_column(header, "cp_size")};
  if (!missing.empty()) return fail(Errc::kParse, "line 1: no column {}", missing);
  return columns;
}

// One row as a question. The strings keep their memory from row to row.
struct Question {
  Tables tables;
  LayerKind kind;
  LayerShape shape;
};

Result<void> read_question(const CsvReader& csv, const Columns& columns, Question& question) {
  const auto optional_text = [&](const std::optional<std::size_t>& column,
                                 std::string_view otherwise) {
    const auto text = column ? csv.field(*column) : std::string_view();
    return text.empty() ? otherwise : text;
  };
  question.tables.system = csv.field(columns.system);
  question.tables.backend = csv.field(columns.backend);
  question.tables.version = optional_text(columns.version, "");
  question.kind.architecture = csv.field(columns.architecture);
  question.kind.kv_dtype = csv.field(columns.kv);
  question.kind.fmha_dtype = optional_text(columns.fmha, "bfloat16");
  question.kind.gemm_dtype = csv.field(columns.gemm);
  const auto phase = csv.field(columns.phase);
  if (phase != "context" && phase != "generation") {
    return fail(Errc::kParse, "phase '{}' is neither context nor generation", phase);
  }
  auto& shape = question.shape;
  shape.phase = phase == "context" ? Phase::kContext : Phase::kGeneration;
  // A count may be written as 16.0.
  const auto size = [](std::string_view name, std::string_view text) -> Result<std::int64_t> {
    if (const auto value = parse_int(text)) return *value;
    const auto value = parse_double(text);
    if (!value || *value != std::floor(*value) || std::abs(*value) > 1e15) {
      return fail(Errc::kParse, "{} '{}' is no count", name, text);
    }
    return static_cast<std::int64_t>(*value);
  };
  DSAPERF_TRY_ASSIGN(shape.heads, size("num_heads_local", csv.field(columns.heads)));
  DSAPERF_TRY_ASSIGN(shape.batch, size("batch", csv.field(columns.batch)));
  DSAPERF_TRY_ASSIGN(const auto length, size("new_tokens_or_seq", csv.field(columns.length)));
  DSAPERF_TRY_ASSIGN(const auto prefix, size("prefix", optional_text(columns.prefix, "0")));
  DSAPERF_TRY_ASSIGN(const auto ranks, size("cp_size", optional_text(columns.ranks, "1")));
  shape.context_parallel = static_cast<int>(std::clamp<std::int64_t>(ranks, 0, 1 << 20));
  const auto share = optional_text(columns.share, "1");
  const auto share_value = parse_double(share);
  if (!share_value) return fail(Errc::kParse, "full_layer_fraction '{}' is no number", share);
  shape.full_layer_share = *share_value;
  if (shape.phase == Phase::kContext) {
    shape.new_tokens = length;
    shape.past_tokens = prefix;
  } else {
    shape.new_tokens = 1;
    shape.past_tokens = length - 1 + prefix;
  }
  return {};
}

void write_answer(CsvWriter& out, const Result<LayerLatency>& answer) {
  if (!answer) {
    out.field("").field("").field("").field("").field(answer.error().message());
    return;
  }
  const auto optional_ms = [&](const std::optional<Micros>& time) {
    time ? out.field(time->millis()) : out.field("");
  };
  out.field(answer->time.millis());
  optional_ms(answer->low);
  optional_ms(answer->high);
  out.field(name(answer->source)).field("");
}

Result<QueryFileSummary> answer_rows(CsvReader& csv, LayerPredictor& predictor, CsvWriter& out) {
  DSAPERF_TRY_ASSIGN(const bool has_header, csv.next());
  if (!has_header) return fail(Errc::kParse, "no header line");
  DSAPERF_TRY_ASSIGN(const auto columns, find_columns(csv.fields()));
  std::vector<std::size_t> kept;  // columns that pass through
  for (std::size_t i = 0; i < csv.fields().size(); ++i) {
    if (std::find(kAdded.begin(), kAdded.end(), csv.fields()[i]) == kAdded.end()) kept.push_back(i);
  }
  for (const auto i : kept) out.field(csv.field(i));
  for (const auto added : kAdded) out.field(added);
  out.end_row();

  QueryFileSummary summary;
  Question question;
  while (true) {
    DSAPERF_TRY_ASSIGN(const bool more, csv.next());
    if (!more) break;
    for (const auto i : kept) out.field(csv.field(i));
    const auto read = read_question(csv, columns, question);
    const auto answer = read ? predictor.at(question.tables, question.kind, question.shape)
                             : Result<LayerLatency>(tl::unexpected(read.error()));
    write_answer(out, answer);
    out.end_row();
    ++summary.rows;
    if (answer) {
      ++summary.by_source[std::string(name(answer->source))];
    } else {
      ++summary.failed;
    }
  }
  return summary;
}

}  // namespace

Result<QueryFileSummary> answer_file(const std::filesystem::path& input,
                                     const std::filesystem::path& output,
                                     LayerPredictor& predictor) {
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(input));
  CsvWriter out;
  auto summary = answer_rows(csv, predictor, out);
  if (!summary) {
    auto error = std::move(summary).error();
    // What reads the lines has named the file already.
    if (error.message().starts_with(input.native())) return tl::unexpected(std::move(error));
    return tl::unexpected(std::move(error).with_context(input.native()));
  }
  if (output.extension() == ".gz") {
    DSAPERF_TRY(write_gzip(output, out.text()));
  } else {
    DSAPERF_TRY(write_file(output, out.text()));
  }
  return summary;
}

}  // namespace dsaperf::predict
