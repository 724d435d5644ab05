#include "dsaperf/perfdb/parquet/library.hpp"

#include <arrow/memory_pool.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/column_reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <algorithm>
#include <stdexcept>
#include <unordered_map>

// Column readers alone, no Arrow table: no conversion, no thread pool, no allocation a value.
namespace {

using dsaperf::perfdb::Column;
using dsaperf::perfdb::ColumnRequest;
using dsaperf::perfdb::ColumnType;
using dsaperf::perfdb::parquet_library::Outcome;

constexpr std::int64_t kBatch = 16384;

[[noreturn]] void refuse(const std::string& text) {
  throw std::runtime_error(text);
}

parquet::Type::type physical(ColumnType type) {
  switch (type) {
    case ColumnType::kText:
      return parquet::Type::BYTE_ARRAY;
    case ColumnType::kInt:
      return parquet::Type::INT64;
    case ColumnType::kReal:
      break;
  }
  return parquet::Type::DOUBLE;
}

// Hands batches of values to `take(values, count)`; refuses nulls, whose row it names.
template <typename Reader, typename Value, typename Take>
void read_all(parquet::ColumnReader& base, std::size_t first_row, std::string_view name,
              std::vector<Value>& buffer, const Take& take) {
  auto& reader = static_cast<Reader&>(base);
  std::vector<std::int16_t> definition(kBatch);
  buffer.resize(kBatch);
  const auto full = base.descr()->max_definition_level();
  std::size_t row = first_row;
  while (reader.HasNext()) {
    std::int64_t values = 0;
    const auto levels = reader.ReadBatch(kBatch, full > 0 ? definition.data() : nullptr, nullptr,
                                         buffer.data(), &values);
    if (full > 0 && values < levels) {
      const auto null = std::find_if(definition.begin(), definition.begin() + levels,
                                     [&](std::int16_t level) { return level < full; });
      refuse("column '" + std::string(name) + "' holds a null in row " +
             std::to_string(row + static_cast<std::size_t>(null - definition.begin()) + 1));
    }
    take(buffer.data(), values);
    row += static_cast<std::size_t>(values);
    if (levels == 0 && values == 0) break;
  }
}

struct TextHash {
  using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

// Interns text. Values of a dictionary page share their bytes, so the address tells most of them
// apart without a look at the text.
class Interner {
 public:
  explicit Interner(Column& column) : column_(column) {}

  void add(const parquet::ByteArray& value) {
    if (value.ptr != last_ptr_ || value.len != last_len_) {
      last_ptr_ = value.ptr;
      last_len_ = value.len;
      last_code_ = find(std::string_view(reinterpret_cast<const char*>(value.ptr), value.len));
    }
    column_.codes.push_back(last_code_);
  }
  void forget_addresses() { last_ptr_ = nullptr; }

 private:
  std::int32_t find(std::string_view text) {
    if (const auto found = codes_.find(text); found != codes_.end()) return found->second;
    const auto next = static_cast<std::int32_t>(column_.values.size());
    codes_.emplace(text, next);
    column_.values.emplace_back(text);
    return next;
  }

  Column& column_;
  std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>> codes_;
  const std::uint8_t* last_ptr_ = nullptr;
  std::uint32_t last_len_ = 0;
  std::int32_t last_code_ = 0;
};

void read(const char* path, const ColumnRequest* requests, std::size_t count, Outcome& outcome) {
  // Arrow's own pool starts arenas and gives pages back that the next column asks for again.
  const parquet::ReaderProperties properties(arrow::system_memory_pool());
  const auto file = parquet::ParquetFileReader::OpenFile(path, /*memory_map=*/true, properties);
  const auto metadata = file->metadata();
  const auto* schema = metadata->schema();
  outcome.columns.rows = static_cast<std::size_t>(metadata->num_rows());
  outcome.columns.columns.resize(count);
  if (const auto pairs = metadata->key_value_metadata()) {
    for (std::int64_t i = 0; i < pairs->size(); ++i) {
      outcome.columns.metadata.emplace(pairs->key(i), pairs->value(i));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto& request = requests[i];
    auto& column = outcome.columns.columns[i];
    const int index = schema->ColumnIndex(std::string(request.name));
    if (index < 0) {
      if (request.optional) continue;
      std::string have;
      for (int c = 0; c < schema->num_columns(); ++c) {
        have += (c == 0 ? "" : ", ") + schema->Column(c)->name();
      }
      refuse("column '" + std::string(request.name) + "' is missing (have: " + have + ")");
    }
    const auto* description = schema->Column(index);
    if (description->physical_type() != physical(request.type) ||
        description->max_repetition_level() > 0) {
      refuse("column '" + std::string(request.name) + "' has type " +
             parquet::TypeToString(description->physical_type()) + ", due " +
             parquet::TypeToString(physical(request.type)));
    }
    column.present = true;
    switch (request.type) {
      case ColumnType::kText:
        column.codes.reserve(outcome.columns.rows);
        break;
      case ColumnType::kInt:
        column.ints.reserve(outcome.columns.rows);
        break;
      case ColumnType::kReal:
        column.reals.reserve(outcome.columns.rows);
        break;
    }
    Interner interner(column);
    std::size_t row = 0;
    std::vector<parquet::ByteArray> texts;
    std::vector<std::int64_t> ints;
    std::vector<double> reals;
    for (int group = 0; group < metadata->num_row_groups(); ++group) {
      const auto reader = file->RowGroup(group)->Column(index);
      switch (request.type) {
        case ColumnType::kText:
          read_all<parquet::ByteArrayReader>(
              *reader, row, request.name, texts,
              [&](const parquet::ByteArray* values, std::int64_t n) {
                interner.forget_addresses();  // a page of plain values may reuse the memory
                for (std::int64_t v = 0; v < n; ++v) interner.add(values[v]);
              });
          break;
        case ColumnType::kInt:
          read_all<parquet::Int64Reader>(
              *reader, row, request.name, ints, [&](const std::int64_t* values, std::int64_t n) {
                column.ints.insert(column.ints.end(), values, values + n);
              });
          break;
        case ColumnType::kReal:
          read_all<parquet::DoubleReader>(
              *reader, row, request.name, reals, [&](const double* values, std::int64_t n) {
                column.reals.insert(column.reals.end(), values, values + n);
              });
          break;
      }
      row += static_cast<std::size_t>(metadata->RowGroup(group)->num_rows());
    }
    const auto got = std::max({column.codes.size(), column.ints.size(), column.reals.size()});
    if (got != outcome.columns.rows) {
      refuse("column '" + std::string(request.name) + "' has " + std::to_string(got) + " of " +
             std::to_string(outcome.columns.rows) + " rows");
    }
  }
  outcome.ok = true;
}

}  // namespace

extern "C" void dsaperf_read_parquet(const char* path, const ColumnRequest* requests,
                                     std::size_t count, Outcome* outcome) {
  try {
    read(path, requests, count, *outcome);
  } catch (const std::exception& error) {
    outcome->error = error.what();
  }
}
