#include "tensor.hpp"

#include "failure.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace nb = nanobind;

// The structs of DLPack 1.x, as dlpack.h gives them.
namespace {

struct DlDevice {
  std::int32_t type;  // 1 CPU, 2 CUDA, 3 pinned host memory, 13 CUDA managed
  std::int32_t ordinal;
};
struct DlType {
  std::uint8_t code;  // 0 int, 1 unsigned, 2 float, 4 bfloat, 10 float8_e4m3fn
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DlTensor {
  void* data;
  DlDevice device;
  std::int32_t dimensions;
  DlType type;
  std::int64_t* shape;
  std::int64_t* strides;  // null: packed
  std::uint64_t byte_offset;
};
struct DlManaged {
  DlTensor tensor;
};
struct DlManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DlManagedVersioned*);
  std::uint64_t flags;  // bit 0: read-only
  DlTensor tensor;
};

}  // namespace

namespace dsaperf::python {
namespace {

constexpr int kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13;

bool fits(Element element, const DlType& type) {
  constexpr int kInt = 0, kUnsigned = 1, kFloat = 2, kBfloat = 4, kFloat8E4m3Fn = 10;
  if (type.lanes != 1) return false;
  switch (element) {
    case Element::kBf16:
      return type.bits == 16 && (type.code == kBfloat || type.code == kUnsigned);
    case Element::kE4m3:
      return type.bits == 8 && (type.code == kFloat8E4m3Fn || type.code == kUnsigned);
    case Element::kF32:
      return type.bits == 32 && type.code == kFloat;
    case Element::kI32:
      return type.bits == 32 && type.code == kInt;
    case Element::kI64:
      return type.bits == 64 && type.code == kInt;
    case Element::kByte:
      return type.bits == 8;
  }
  return false;
}

const char* described(Element element) {
  switch (element) {
    case Element::kBf16:
      return "bfloat16 (or its bits as uint16)";
    case Element::kE4m3:
      return "float8_e4m3fn (or its bits as uint8)";
    case Element::kF32:
      return "float32";
    case Element::kI32:
      return "int32";
    case Element::kI64:
      return "int64";
    case Element::kByte:
      break;
  }
  return "of one byte an element";
}

std::string type_name(const DlType& type) {
  constexpr const char* kNames[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  const char* name = type.code < std::size(kNames) ? kNames[type.code] : "type ";
  return type.code < std::size(kNames) ? fmt::format("{}{}", name, type.bits)
                                       : fmt::format("a {}-bit type", type.bits);
}

nb::object exported(nb::handle object, const char* name, const Place& place) {
  if (!nb::hasattr(object, "__dlpack__"))
    refuse("{}: a {} has no __dlpack__; pass a torch, CuPy, JAX or numpy array", name,
           nb::type_name(object.type()).c_str());
  const nb::object method = object.attr("__dlpack__");
  nb::dict arguments;
  // The protocol's number for the legacy default stream is 1.
  if (place.gpu) arguments["stream"] = place.stream == 0 ? 1 : place.stream;
  try {
    nb::dict with_version;
    for (const auto& [key, value] : arguments) with_version[key] = value;
    with_version["max_version"] = nb::make_tuple(1, 0);
    return method(**with_version);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) refuse("{}: {}", name, error.what());
  }
  try {
    return method(**arguments);  // a library older than DLPack 1
  } catch (nb::python_error& error) {
    refuse("{}: {}", name, error.what());
  }
}

}  // namespace

void Place::admit(nb::handle object, const char* name) {
  int kind = kCpu, ordinal = 0;
  if (nb::hasattr(object, "__dlpack_device__")) {
    const auto found = nb::cast<nb::tuple>(object.attr("__dlpack_device__")());
    kind = nb::cast<int>(nb::int_(found[0]));
    ordinal = nb::cast<int>(nb::int_(found[1]));
  }
  const bool on_gpu = kind == kCuda || kind == kCudaManaged;
  if (!on_gpu && kind != kCpu && kind != kCudaHost)
    refuse("{}: device type {} is neither the host nor an NVIDIA GPU", name, kind);
  if (known && (gpu != on_gpu || (on_gpu && device != ordinal)))
    refuse("{}: is on {}, other tensors of the call are on {}", name,
           on_gpu ? fmt::format("cuda:{}", ordinal) : "the host",
           gpu ? fmt::format("cuda:{}", device) : "the host");
  known = true;
  gpu = on_gpu;
  device = ordinal;
  if (gpu) {
    const nb::str module(object.type().attr("__module__"));
    must_wait = must_wait || std::string_view(module.c_str()).starts_with("jax");
  }
}

Tensor::Tensor(nb::handle object, const char* name, Element element, int dimensions,
               const Place& place)
    : name_(name) {
  capsule_ = exported(object, name, place);
  const DlTensor* tensor = nullptr;
  if (PyCapsule_IsValid(capsule_.ptr(), "dltensor_versioned") != 0) {
    const auto* managed = static_cast<DlManagedVersioned*>(
        PyCapsule_GetPointer(capsule_.ptr(), "dltensor_versioned"));
    tensor = &managed->tensor;
    read_only_ = (managed->flags & 1U) != 0;
  } else if (PyCapsule_IsValid(capsule_.ptr(), "dltensor") != 0) {
    tensor = &static_cast<DlManaged*>(PyCapsule_GetPointer(capsule_.ptr(), "dltensor"))->tensor;
  } else {
    refuse("{}: __dlpack__ returned no DLPack capsule", name);
  }
  if (!fits(element, tensor->type))
    refuse("{}: is {}, not {}", name, type_name(tensor->type), described(element));
  if (dimensions >= 0 && tensor->dimensions != dimensions)
    refuse("{}: has {} dimensions, not {}", name, tensor->dimensions, dimensions);

  data_ = static_cast<char*>(tensor->data) + tensor->byte_offset;
  sizes_.assign(tensor->shape, tensor->shape + tensor->dimensions);
  strides_.resize(sizes_.size());
  std::int64_t packed = 1;
  const bool is_empty = std::find(sizes_.begin(), sizes_.end(), 0) != sizes_.end();
  for (int d = tensor->dimensions - 1; d >= 0; --d) {
    // Where there is nothing to step over, a library may give any stride; numpy gives 0.
    const bool given = tensor->strides != nullptr && sizes_[d] > 1 && !is_empty;
    strides_[d] = given ? tensor->strides[d] : packed;
    packed = strides_[d] * std::max<std::int64_t>(sizes_[d], 1);
  }
  if (!strides_.empty() && strides_.back() != 1)
    refuse("{}: the last dimension is not contiguous (stride {}); pass {}.contiguous()", name,
           strides_.back(), name);
}

Tensor& Tensor::writable() {
  if (read_only_) refuse("{}: may not be written", name_);
  return *this;
}

std::int64_t Tensor::size(int dimension) const {
  return sizes_.at(dimension < 0 ? sizes_.size() + dimension : dimension);
}

std::int64_t Tensor::stride(int dimension) const {
  return strides_.at(dimension < 0 ? strides_.size() + dimension : dimension);
}

std::int64_t Tensor::expect(int dimension, std::int64_t size) const {
  if (this->size(dimension) != size)
    refuse("{}: shape {} has {} in dimension {}, not {}", name_, sizes_, this->size(dimension),
           dimension, size);
  return size;
}

void Tensor::expect_packed() const {
  std::int64_t packed = 1;
  for (int d = dimensions() - 1; d >= 0; --d) {
    if (sizes_[d] > 1 && strides_[d] != packed)
      refuse("{}: strides {} of shape {} leave gaps; pass {}.contiguous()", name_, strides_, sizes_,
             name_);
    packed *= sizes_[d];
  }
}

Tensor::Rows Tensor::rows() const {
  if (dimensions() < 2) refuse("{}: has {} dimensions, needs 2 or more", name_, dimensions());
  Rows rows{.count = size(-2), .stride = stride(-2), .width = size(-1)};
  for (int d = dimensions() - 3; d >= 0; --d) {
    if (rows.count == 1) rows.stride = strides_[d];
    if (sizes_[d] > 1 && rows.count > 0 && strides_[d] != rows.count * rows.stride)
      refuse("{}: strides {} of shape {} are not those of evenly spaced rows", name_, strides_,
             sizes_);
    rows.count *= sizes_[d];
  }
  return rows;
}

}  // namespace dsaperf::python
