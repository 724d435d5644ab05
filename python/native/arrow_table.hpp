#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::python {

// Columns of equal length that other programs read in place, by Arrow's C data interface
// (https://arrow.apache.org/docs/format/CDataInterface.html). No column has nulls; a NaN stands for
// a number that there is none of. What was exported keeps the columns alive.
class ArrowTable {
 public:
  void add_text(std::string name, const std::vector<std::string>& values);
  void add_integers(std::string name, std::vector<std::int64_t> values);
  void add_reals(std::string name, std::vector<double> values);
  void add_flags(std::string name, const std::vector<bool>& values);

  std::int64_t rows() const { return rows_; }
  std::vector<std::string> column_names() const;
  // Address of a column's values, for tests that nothing was copied.
  std::uintptr_t address(std::size_t column) const;

  // Capsules "arrow_schema", "arrow_array" and "arrow_array_stream" of one struct of all columns.
  nanobind::object schema() const;
  nanobind::object array() const;
  nanobind::object stream() const;

  struct Column {
    std::string name;
    const char* format;  // Arrow's: "g" double, "l" int64, "u" text, "b" bits
    std::vector<double> reals = {};
    std::vector<std::int64_t> integers = {};
    std::vector<std::int32_t> offsets = {};
    std::string bytes = {};  // of texts, or bits

    const void* values() const;
  };

 private:
  void add(Column column, std::size_t rows);

  std::int64_t rows_ = 0;
  std::vector<std::shared_ptr<const Column>> columns_;
};

void bind_arrow_table(nanobind::module_& module);

}  // namespace dsaperf::python
