#include "arrow_table.hpp"

#include "failure.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cerrno>

namespace nb = nanobind;

// The structs of the C data and C stream interface, as their specification gives them.
extern "C" {
struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  std::int64_t flags;
  std::int64_t n_children;
  ArrowSchema** children;
  ArrowSchema* dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  std::int64_t length;
  std::int64_t null_count;
  std::int64_t offset;
  std::int64_t n_buffers;
  std::int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

struct ArrowArrayStream {
  int (*get_schema)(ArrowArrayStream*, ArrowSchema* out);
  int (*get_next)(ArrowArrayStream*, ArrowArray* out);
  const char* (*get_last_error)(ArrowArrayStream*);
  void (*release)(ArrowArrayStream*);
  void* private_data;
};
}

namespace dsaperf::python {
namespace {

using Column = ArrowTable::Column;
using Columns = std::vector<std::shared_ptr<const Column>>;

// What an exported struct owns: what it points to, and one reference to each column it shows.
template <typename T>
struct Exported {
  std::vector<T> children;
  std::vector<T*> child_pointers;
  std::array<const void*, 3> buffers = {};
  std::shared_ptr<const Column> column;
};

// A consumer may have moved a child out of its parent: those have no release any more.
template <typename T>
void release(T* exported) {
  auto* owned = static_cast<Exported<T>*>(exported->private_data);
  for (T& child : owned->children)
    if (child.release != nullptr) child.release(&child);
  exported->release = nullptr;
  delete owned;
}

template <typename T>
void own(T& target, std::unique_ptr<Exported<T>> owned) {
  for (T& child : owned->children) owned->child_pointers.push_back(&child);
  target.n_children = static_cast<std::int64_t>(owned->children.size());
  target.children = owned->child_pointers.data();
  target.release = release<T>;
  target.private_data = owned.release();
}

void fill(const Columns& columns, ArrowSchema& schema) {
  auto owned = std::make_unique<Exported<ArrowSchema>>();
  for (const auto& column : columns) {
    ArrowSchema& child = owned->children.emplace_back();
    child.format = column->format;
    child.name = column->name.c_str();
    auto of_child = std::make_unique<Exported<ArrowSchema>>();
    of_child->column = column;
    own(child, std::move(of_child));
  }
  schema = {};
  schema.format = "+s";
  schema.name = "";
  own(schema, std::move(owned));
}

void fill(const Columns& columns, std::int64_t rows, ArrowArray& array) {
  auto owned = std::make_unique<Exported<ArrowArray>>();
  for (const auto& column : columns) {
    ArrowArray& child = owned->children.emplace_back();
    auto of_child = std::make_unique<Exported<ArrowArray>>();
    of_child->column = column;
    child.length = rows;
    const bool is_text = column->format == std::string_view("u");
    of_child->buffers = {nullptr, is_text ? column->offsets.data() : column->values(),
                         is_text ? column->values() : nullptr};
    child.n_buffers = is_text ? 3 : 2;
    child.buffers = of_child->buffers.data();
    own(child, std::move(of_child));
  }
  array = {};
  array.length = rows;
  array.n_buffers = 1;
  array.buffers = owned->buffers.data();
  own(array, std::move(owned));
}

// One batch, then the end.
struct Stream {
  Columns columns;
  std::int64_t rows;
  bool given = false;
};

void fill(const Columns& columns, std::int64_t rows, ArrowArrayStream& stream) {
  const auto state = [](ArrowArrayStream* self) {
    return static_cast<Stream*>(self->private_data);
  };
  static constexpr auto kState = state;
  stream.get_schema = [](ArrowArrayStream* self, ArrowSchema* out) {
    fill(kState(self)->columns, *out);
    return 0;
  };
  stream.get_next = [](ArrowArrayStream* self, ArrowArray* out) {
    Stream& source = *kState(self);
    *out = {};  // no release: the end
    if (!source.given) fill(source.columns, source.rows, *out);
    source.given = true;
    return 0;
  };
  stream.get_last_error = [](ArrowArrayStream*) -> const char* { return nullptr; };
  stream.release = [](ArrowArrayStream* self) {
    delete kState(self);
    self->release = nullptr;
  };
  stream.private_data = new Stream{columns, rows};
}

// A capsule that releases what nobody took over.
template <typename T>
nb::object capsule(T value, const char* name) {
  return nb::capsule(new T(value), name, [](void* pointer) noexcept {
    auto* held = static_cast<T*>(pointer);
    if (held->release != nullptr) held->release(held);
    delete held;
  });
}

}  // namespace

const void* Column::values() const {
  if (*format == 'g') return reals.data();
  if (*format == 'l') return integers.data();
  return bytes.data();
}

void ArrowTable::add(Column column, std::size_t rows) {
  if (!columns_.empty() && static_cast<std::int64_t>(rows) != rows_)
    refuse("column '{}' has {} rows, not {}", column.name, rows, rows_);
  rows_ = static_cast<std::int64_t>(rows);
  columns_.push_back(std::make_shared<const Column>(std::move(column)));
}

void ArrowTable::add_reals(std::string name, std::vector<double> values) {
  const auto rows = values.size();
  add({.name = std::move(name), .format = "g", .reals = std::move(values)}, rows);
}

void ArrowTable::add_integers(std::string name, std::vector<std::int64_t> values) {
  const auto rows = values.size();
  add({.name = std::move(name), .format = "l", .integers = std::move(values)}, rows);
}

void ArrowTable::add_text(std::string name, const std::vector<std::string>& values) {
  Column column{.name = std::move(name), .format = "u", .offsets = {0}};
  for (const auto& value : values) {
    column.bytes += value;
    column.offsets.push_back(static_cast<std::int32_t>(column.bytes.size()));
  }
  add(std::move(column), values.size());
}

void ArrowTable::add_flags(std::string name, const std::vector<bool>& values) {
  Column column{.name = std::move(name), .format = "b"};
  column.bytes.resize((values.size() + 7) / 8);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i]) column.bytes[i / 8] |= static_cast<char>(1U << (i % 8));
  add(std::move(column), values.size());
}

std::vector<std::string> ArrowTable::column_names() const {
  std::vector<std::string> names;
  for (const auto& column : columns_) names.push_back(column->name);
  return names;
}

std::uintptr_t ArrowTable::address(std::size_t column) const {
  return reinterpret_cast<std::uintptr_t>(columns_.at(column)->values());
}

nb::object ArrowTable::schema() const {
  ArrowSchema value{};
  fill(columns_, value);
  return capsule(value, "arrow_schema");
}

nb::object ArrowTable::array() const {
  ArrowArray value{};
  fill(columns_, rows_, value);
  return capsule(value, "arrow_array");
}

nb::object ArrowTable::stream() const {
  ArrowArrayStream value{};
  fill(columns_, rows_, value);
  return capsule(value, "arrow_array_stream");
}

void bind_arrow_table(nb::module_& module) {
  nb::class_<ArrowTable>(module, "ArrowTable")
      .def("__len__", &ArrowTable::rows)
      .def_prop_ro("column_names", &ArrowTable::column_names)
      .def("address", &ArrowTable::address, nb::arg("column"))
      .def("schema", &ArrowTable::schema)
      .def("array", &ArrowTable::array)
      .def("stream", &ArrowTable::stream);
}

}  // namespace dsaperf::python
