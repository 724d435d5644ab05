#include "dsaperf/core/csv.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/gzip.hpp"

#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <utility>

namespace dsaperf {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 16;
constexpr int kFieldBegun = 2;  // libcsv: inside a field; with `quoted`, inside its quotes

int no_space(unsigned char) {
  return 0;
}

}  // namespace

// libcsv knows no positions, so it is fed line by line: the line being fed is the one a row that
// comes out belongs to.
struct CsvReader::State {
  explicit State(ByteReader source) : bytes(std::move(source)), chunk(kChunk) {
    csv_init(&parser, 0);
    csv_set_space_func(&parser, no_space);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { csv_free(&parser); }

  struct Row {
    std::size_t first_field;
    std::size_t fields;
    std::size_t line;
  };

  ByteReader bytes;
  std::string name;  // of the file, for messages
  csv_parser parser{};
  std::vector<char> chunk;
  std::string_view pending;  // read, not yet parsed
  std::size_t current_line = 1;
  bool started = false;
  bool exhausted = false;

  std::string text;               // of all fields below
  std::vector<std::size_t> ends;  // of each field in `text`
  std::vector<Row> rows;          // complete rows
  std::size_t row_first_field = 0;
  std::size_t row_line = 0;  // where the row being parsed began; 0: not begun
  std::size_t served = 0;    // of `rows`

  std::vector<std::string_view> fields;
  std::size_t line = 0;

  static void on_field(void* data, std::size_t size, void* self) {
    auto& state = *static_cast<State*>(self);
    state.text.append(static_cast<const char*>(data), size);
    state.ends.push_back(state.text.size());
  }

  static void on_row(int, void* self) {
    auto& state = *static_cast<State*>(self);
    state.rows.push_back({.first_field = state.row_first_field,
                          .fields = state.ends.size() - state.row_first_field,
                          .line = state.row_line});
    state.row_first_field = state.ends.size();
    state.row_line = state.current_line;
  }

  Result<void> parse_line() {
    if (pending.empty()) {
      DSAPERF_TRY_ASSIGN(const std::size_t got, bytes.read(chunk));
      pending = {chunk.data(), got};
      if (!std::exchange(started, true) && pending.starts_with("\xef\xbb\xbf")) {
        pending.remove_prefix(3);
      }
      if (got == 0) return finish();
    }
    const auto newline = pending.find('\n');
    const auto size = newline == std::string_view::npos ? pending.size() : newline + 1;
    if (parser.pstate == 0) row_line = current_line;
    if (csv_parse(&parser, pending.data(), size, on_field, on_row, this) != size) {
      return fail(Errc::kOutOfMemory, "{}line {}: no memory for a field", prefix(), row_line);
    }
    pending.remove_prefix(size);
    if (newline != std::string_view::npos) ++current_line;
    return {};
  }

  Result<void> finish() {
    exhausted = true;
    if (parser.pstate == kFieldBegun && parser.quoted != 0) {
      return fail(Errc::kParse,
                  "{}line {}: a quoted field is not closed before the end of the file; "
                  "the file seems to be cut",
                  prefix(), row_line);
    }
    csv_fini(&parser, on_field, on_row, this);
    return {};
  }

  std::string prefix() const { return name.empty() ? std::string() : name + ": "; }
};

CsvReader::CsvReader(std::unique_ptr<State> state) : state_(std::move(state)) {
}
CsvReader::CsvReader(CsvReader&&) noexcept = default;
CsvReader& CsvReader::operator=(CsvReader&&) noexcept = default;
CsvReader::~CsvReader() = default;

Result<CsvReader> CsvReader::open(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(auto bytes, ByteReader::open(path));
  auto state = std::make_unique<State>(std::move(bytes));
  state->name = path.native();
  return CsvReader(std::move(state));
}

Result<CsvReader> CsvReader::over(std::string_view text) {
  DSAPERF_TRY_ASSIGN(auto bytes, ByteReader::over(text));
  return CsvReader(std::make_unique<State>(std::move(bytes)));
}

Result<bool> CsvReader::next() {
  auto& state = *state_;
  while (state.served == state.rows.size()) {
    if (state.exhausted) return false;
    if (state.row_first_field == state.ends.size()) {  // nothing of a row in hand
      state.text.clear();
      state.ends.clear();
      state.row_first_field = 0;
    }
    state.rows.clear();
    state.served = 0;
    DSAPERF_TRY(state.parse_line());
  }
  const auto& row = state.rows[state.served++];
  state.fields.clear();
  for (std::size_t i = row.first_field; i < row.first_field + row.fields; ++i) {
    const std::size_t begin = i == 0 ? 0 : state.ends[i - 1];
    state.fields.push_back(std::string_view(state.text).substr(begin, state.ends[i] - begin));
  }
  state.line = row.line;
  return true;
}

const std::vector<std::string_view>& CsvReader::fields() const {
  return state_->fields;
}

std::string_view CsvReader::field(std::size_t index) const {
  return index < state_->fields.size() ? state_->fields[index] : std::string_view();
}

std::size_t CsvReader::line() const {
  return state_->line;
}

std::optional<std::size_t> find_column(const std::vector<std::string_view>& header,
                                       std::string_view name) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

namespace {

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(kSpace) - first + 1);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<double> parse_double(std::string_view text) {
  return parse_number<double>(text);
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  return parse_number<std::int64_t>(text);
}

std::string format_double(double value) {
  return fmt::format("{}", value);
}

void CsvWriter::separate() {
  if (std::exchange(in_row_, true)) text_ += ',';
}

CsvWriter& CsvWriter::field(std::string_view text) {
  separate();
  const bool spaced = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (!spaced && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    text_ += text;
    return *this;
  }
  const std::size_t begin = text_.size();
  text_.resize(begin + csv_write(nullptr, 0, text.data(), text.size()));
  csv_write(text_.data() + begin, text_.size() - begin, text.data(), text.size());
  return *this;
}

CsvWriter& CsvWriter::field(double value) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

CsvWriter& CsvWriter::field(std::int64_t value) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

void CsvWriter::end_row() {
  // A single empty field would be a blank line, which readers skip.
  if (text_.size() == row_begin_) text_ += "\"\"";
  text_ += '\n';
  row_begin_ = text_.size();
  in_row_ = false;
}

}  // namespace dsaperf
