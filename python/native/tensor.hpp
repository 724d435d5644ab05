#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dsaperf::python {

enum class Element { kBf16, kE4m3, kF32, kI32, kI64, kByte };

// Where a call's tensors live, and the stream that its work goes on. The first tensor decides; the
// others must agree.
struct Place {
  bool known = false;
  bool gpu = false;
  int device = 0;             // CUDA's ordinal
  std::uintptr_t stream = 0;  // CUDA's; 0 is the legacy default stream
  // One of the tensors is JAX's, which gives the memory of an array that is dropped to its own next
  // work, whatever a stream of ours still reads there: the call has to end after its work.
  bool must_wait = false;

  // Asks a tensor for its device; refuses one that other tensors of the call are not on.
  void admit(nanobind::handle object, const char* name);
};

// A tensor of any library that speaks DLPack (https://dmlc.github.io/dlpack), looked at in place
// while this object lives. On a GPU the producer is told the stream, so that what it has queued is
// ordered before our work. bf16 may come as 16-bit unsigned integers and e4m3 as bytes, for
// libraries that have no such type.
class Tensor {
 public:
  // Of an object that `place` has admitted. Refuses another element type, another number of
  // dimensions (-1: any), and elements of the last dimension that are not side by side.
  Tensor(nanobind::handle object, const char* name, Element element, int dimensions,
         const Place& place);

  // For results: refuses memory that may not be written.
  Tensor& writable();

  template <typename T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  int dimensions() const { return static_cast<int>(sizes_.size()); }
  std::int64_t size(int dimension) const;
  std::int64_t stride(int dimension) const;  // in elements
  const std::string& name() const { return name_; }

  // Refuses another size of a dimension; returns the size.
  std::int64_t expect(int dimension, std::int64_t size) const;
  // Refuses gaps between rows.
  void expect_packed() const;
  // All dimensions but the last seen as one: refuses what is not evenly spaced.
  struct Rows {
    std::int64_t count;
    std::int64_t stride;  // elements
    std::int64_t width;
  };
  Rows rows() const;

 private:
  std::string name_;
  nanobind::object capsule_;  // owns the producer's description
  void* data_ = nullptr;
  bool read_only_ = false;
  std::vector<std::int64_t> sizes_, strides_;
};

}  // namespace dsaperf::python
