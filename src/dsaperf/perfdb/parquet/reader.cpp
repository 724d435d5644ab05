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
#include <span>
#include <stdexcept>
#include <unordered_map>

// Column readers alone, no Arrow table: no conversion, no thread pool, no allocation a value.
// Columns that are coded by a dictionary, as those of pyarrow are, are read as its indices.
namespace {

using dsaperf::perfdb::Column;
using dsaperf::perfdb::ColumnRequest;
using dsaperf::perfdb::ColumnType;
using dsaperf::perfdb::RowFilter;
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

std::string_view text_of(const parquet::ByteArray& value) {
  return {reinterpret_cast<const char*>(value.ptr), value.len};
}

// Values of consecutive rows: themselves, or entries of a dictionary.
template <typename Value>
struct Batch {
  int row_group = 0;
  std::size_t first_row = 0;
  std::int64_t count = 0;
  std::span<const Value> values = {};  // empty: `entries`, of `dictionary`
  std::span<const std::int32_t> entries = {};
  std::span<const Value> dictionary = {};

  bool is_coded() const { return values.empty(); }
  std::size_t entry(std::int64_t i) const {
    const auto entry = static_cast<std::size_t>(entries[static_cast<std::size_t>(i)]);
    if (entry >= dictionary.size()) refuse("an index lies outside its dictionary");
    return entry;
  }
  const Value& operator[](std::int64_t i) const {
    return is_coded() ? dictionary[entry(i)] : values[static_cast<std::size_t>(i)];
  }
};

// Which rows of the file are wanted.
class Rows {
 public:
  explicit Rows(std::size_t in_file) : count_(in_file) {}

  std::size_t count() const { return count_; }
  bool are_all() const { return are_all_; }
  // Calls use(i) for the rows first_row + i, i < count, that are wanted.
  template <typename Use>
  void for_each(std::size_t first_row, std::int64_t count, const Use& use) const {
    if (are_all_) {
      for (std::int64_t i = 0; i < count; ++i) use(i);
      return;
    }
    const auto begin = std::ranges::lower_bound(wanted_, first_row);
    const auto end =
        std::lower_bound(begin, wanted_.end(), first_row + static_cast<std::size_t>(count));
    for (auto row = begin; row != end; ++row) use(static_cast<std::int64_t>(*row - first_row));
  }
  void keep_only(std::vector<std::size_t> wanted) {
    are_all_ = false;
    count_ = wanted.size();
    wanted_ = std::move(wanted);
  }
  std::vector<std::size_t> take() { return std::move(wanted_); }

 private:
  bool are_all_ = true;
  std::size_t count_ = 0;
  std::vector<std::size_t> wanted_;  // ascending
};

// Interns text; the values of a dictionary, one a row group, once.
class Interner {
 public:
  explicit Interner(Column& column) : column_(column) {}

  void start(const Batch<parquet::ByteArray>& batch) {
    if (batch.row_group == row_group_) return;
    row_group_ = batch.row_group;
    code_of_entry_.assign(batch.dictionary.size(), -1);
  }
  void add(const Batch<parquet::ByteArray>& batch, std::int64_t i) {
    if (!batch.is_coded()) {
      column_.codes.push_back(code_of(text_of(batch[i])));
      return;
    }
    const auto entry = batch.entry(i);
    auto& code = code_of_entry_[entry];
    if (code < 0) code = code_of(text_of(batch.dictionary[entry]));
    column_.codes.push_back(code);
  }

 private:
  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };

  std::int32_t code_of(std::string_view text) {
    if (const auto found = codes_.find(text); found != codes_.end()) return found->second;
    const auto next = static_cast<std::int32_t>(column_.values.size());
    codes_.emplace(text, next);
    column_.values.emplace_back(text);
    return next;
  }

  Column& column_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> codes_;
  int row_group_ = -1;
  std::vector<std::int32_t> code_of_entry_;  // -1: not met yet
};

class File {
 public:
  explicit File(const char* path)
      // Arrow's own pool starts arenas and gives pages back that the next column asks for again.
      : file_(parquet::ParquetFileReader::OpenFile(
            path, /*memory_map=*/true, parquet::ReaderProperties(arrow::system_memory_pool()))),
        metadata_(file_->metadata()),
        definition_(kBatch),
        entries_(kBatch) {}

  const parquet::FileMetaData& metadata() const { return *metadata_; }

  // -1 where an optional column is absent.
  int index_of(const ColumnRequest& request) const {
    const auto* schema = metadata_->schema();
    const int index = schema->ColumnIndex(std::string(request.name));
    if (index < 0) {
      if (request.optional) return index;
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
    return index;
  }

  // Hands all values of a column to take(batch) in batches. Refuses nulls, whose row it names.
  template <typename Type, typename Take>
  void read(int index, std::string_view name, const Take& take) {
    using Value = typename Type::c_type;
    std::size_t row = 0;
    for (int group = 0; group < metadata_->num_row_groups(); ++group) {
      const auto column = file_->RowGroup(group)->ColumnWithExposeEncoding(
          index, parquet::ExposedEncoding::DICTIONARY);
      auto& reader = static_cast<parquet::TypedColumnReader<Type>&>(*column);
      const bool coded = reader.GetExposedEncoding() == parquet::ExposedEncoding::DICTIONARY;
      const auto full = reader.descr()->max_definition_level();
      std::vector<Value> values(coded ? 0 : kBatch);
      auto* const levels = full > 0 ? definition_.data() : nullptr;
      while (reader.HasNext()) {
        Batch<Value> batch{.row_group = group, .first_row = row};
        std::int64_t rows = 0;
        if (coded) {
          const Value* dictionary = nullptr;
          std::int32_t length = 0;
          rows = reader.ReadBatchWithDictionary(kBatch, levels, nullptr, entries_.data(),
                                                &batch.count, &dictionary, &length);
          batch.entries = entries_;
          batch.dictionary = {dictionary, static_cast<std::size_t>(length)};
        } else {
          rows = reader.ReadBatch(kBatch, levels, nullptr, values.data(), &batch.count);
          batch.values = values;
        }
        if (full > 0 && batch.count < rows) {
          const auto null = std::find_if(definition_.begin(), definition_.begin() + rows,
                                         [&](std::int16_t level) { return level < full; });
          refuse("column '" + std::string(name) + "' holds a null in row " +
                 std::to_string(row + static_cast<std::size_t>(null - definition_.begin()) + 1));
        }
        take(batch);
        row += static_cast<std::size_t>(batch.count);
        if (rows == 0 && batch.count == 0) break;
      }
    }
  }

 private:
  std::unique_ptr<parquet::ParquetFileReader> file_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  std::vector<std::int16_t> definition_;
  std::vector<std::int32_t> entries_;
};

// The rows that pass all filters.
Rows filtered(File& file, std::span<const ColumnRequest> requests,
              std::span<const RowFilter> filters) {
  Rows rows(static_cast<std::size_t>(file.metadata().num_rows()));
  for (const auto& filter : filters) {
    std::vector<std::size_t> wanted;
    const auto keep = [&](const auto& is_wanted) {
      return [&rows, &wanted, is_wanted](const auto& batch) {
        rows.for_each(batch.first_row, batch.count, [&](std::int64_t i) {
          if (is_wanted(batch[i])) wanted.push_back(batch.first_row + static_cast<std::size_t>(i));
        });
      };
    };
    auto request = requests[filter.column];
    request.optional = false;
    const int index = file.index_of(request);
    if (request.type == ColumnType::kText) {
      file.read<parquet::ByteArrayType>(
          index, request.name,
          keep([&](const parquet::ByteArray& value) { return text_of(value) == filter.text; }));
    } else {
      file.read<parquet::Int64Type>(
          index, request.name, keep([&](std::int64_t value) { return value == filter.number; }));
    }
    rows.keep_only(std::move(wanted));
  }
  return rows;
}

// What a column that was filtered by holds.
void fill(Column& column, ColumnType type, const RowFilter& filter, std::size_t rows) {
  if (type == ColumnType::kText) {
    column.values.emplace_back(filter.text);
    column.codes.assign(rows, 0);
  } else {
    column.ints.assign(rows, filter.number);
  }
}

void read_column(File& file, int index, const ColumnRequest& request, const Rows& rows,
                 Column& column) {
  switch (request.type) {
    case ColumnType::kText: {
      column.codes.reserve(rows.count());
      Interner interner(column);
      file.read<parquet::ByteArrayType>(
          index, request.name, [&](const Batch<parquet::ByteArray>& batch) {
            interner.start(batch);
            rows.for_each(batch.first_row, batch.count,
                          [&](std::int64_t i) { interner.add(batch, i); });
          });
      break;
    }
    case ColumnType::kInt:
      column.ints.reserve(rows.count());
      file.read<parquet::Int64Type>(index, request.name, [&](const Batch<std::int64_t>& batch) {
        rows.for_each(batch.first_row, batch.count,
                      [&](std::int64_t i) { column.ints.push_back(batch[i]); });
      });
      break;
    case ColumnType::kReal:
      column.reals.reserve(rows.count());
      file.read<parquet::DoubleType>(index, request.name, [&](const Batch<double>& batch) {
        rows.for_each(batch.first_row, batch.count,
                      [&](std::int64_t i) { column.reals.push_back(batch[i]); });
      });
      break;
  }
  const auto got = std::max({column.codes.size(), column.ints.size(), column.reals.size()});
  if (got != rows.count()) {
    refuse("column '" + std::string(request.name) + "' has " + std::to_string(got) + " of " +
           std::to_string(rows.count()) + " rows");
  }
}

void read(const char* path, std::span<const ColumnRequest> requests,
          std::span<const RowFilter> filters, Outcome& outcome) {
  File file(path);
  if (const auto pairs = file.metadata().key_value_metadata()) {
    for (std::int64_t i = 0; i < pairs->size(); ++i) {
      outcome.columns.metadata.emplace(pairs->key(i), pairs->value(i));
    }
  }
  auto rows = filtered(file, requests, filters);
  outcome.columns.rows = rows.count();
  outcome.columns.columns.resize(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const int index = file.index_of(requests[i]);
    if (index < 0) continue;
    auto& column = outcome.columns.columns[i];
    column.present = true;
    const auto filter = std::ranges::find(filters, i, &RowFilter::column);
    if (filter != filters.end()) {
      fill(column, requests[i].type, *filter, rows.count());
    } else if (rows.count() > 0) {
      read_column(file, index, requests[i], rows, column);
    }
  }
  outcome.columns.row_of = rows.take();
  outcome.ok = true;
}

}  // namespace

extern "C" void dsaperf_read_parquet(const char* path, std::span<const ColumnRequest> requests,
                                     std::span<const RowFilter> filters, Outcome* outcome) {
  try {
    read(path, requests, filters, *outcome);
  } catch (const std::exception& error) {
    outcome->error = error.what();
  }
}
