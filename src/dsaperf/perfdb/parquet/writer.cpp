#include "dsaperf/perfdb/parquet/library.hpp"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <parquet/arrow/writer.h>

#include <stdexcept>

namespace {

using dsaperf::perfdb::ColumnType;
using dsaperf::perfdb::NewColumn;
using dsaperf::perfdb::parquet_library::Written;

void check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

template <typename Builder, typename Values>
std::shared_ptr<arrow::Array> array_of(const Values& values) {
  Builder builder;
  check(builder.AppendValues(values));
  std::shared_ptr<arrow::Array> array;
  check(builder.Finish(&array));
  return array;
}

std::shared_ptr<arrow::Array> array_of(const NewColumn& column) {
  switch (column.type) {
    case ColumnType::kText:
      return array_of<arrow::StringBuilder>(column.texts);
    case ColumnType::kInt:
      return array_of<arrow::Int64Builder>(column.ints);
    case ColumnType::kReal:
      break;
  }
  return array_of<arrow::DoubleBuilder>(column.reals);
}

std::string bytes_of(const NewColumn* columns, std::size_t count,
                     const std::map<std::string, std::string>& metadata) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (std::size_t i = 0; i < count; ++i) {
    arrays.push_back(array_of(columns[i]));
    fields.push_back(arrow::field(columns[i].name, arrays.back()->type(), /*nullable=*/false));
  }
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (const auto& [key, value] : metadata) {
    keys.push_back(key);
    values.push_back(value);
  }
  const auto table =
      arrow::Table::Make(arrow::schema(fields, arrow::key_value_metadata(keys, values)), arrays);
  const auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto properties =
      parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->build();
  // The Arrow schema carries the metadata; the physical types do not depend on it.
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  check(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 1 << 20, properties,
                                   arrow_properties));
  const auto buffer = sink->Finish();
  check(buffer.status());
  return (*buffer)->ToString();
}

}  // namespace

extern "C" void dsaperf_write_parquet(const NewColumn* columns, std::size_t count,
                                      const std::map<std::string, std::string>* metadata,
                                      Written* written) {
  try {
    written->bytes = bytes_of(columns, count, *metadata);
    written->ok = true;
  } catch (const std::exception& error) {
    written->error = error.what();
  }
}
