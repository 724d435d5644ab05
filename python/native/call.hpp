#pragma once

#include "failure.hpp"
#include "tensor.hpp"
#include <dsaperf/dsaperf.h>

#include <nanobind/nanobind.h>

#include <optional>

namespace dsaperf::python {

void must(dsaperf_status status, const dsaperf_error& error);

// How a stage is to run, from Python: the stream of GPU tensors, whether host tensors go through
// the double-precision reference, and who makes the workspace: a function from bytes to a tensor
// of the same library on the same device.
struct Options {
  std::uintptr_t stream = 0;
  bool reference = false;
  int threads = 0;
  nanobind::object workspace;
};

// One call of a stage: its tensors, then run().
class Call {
 public:
  explicit Call(Options options) : options_(std::move(options)) { place_.stream = options_.stream; }

  Tensor tensor(nanobind::handle object, const char* name, Element element, int dimensions) {
    place_.admit(object, name);
    if (!on_device_) on_device_.emplace(place_);
    return {object, name, element, dimensions, place_};
  }
  std::optional<Tensor> optional(nanobind::handle object, const char* name, Element element,
                                 int dimensions) {
    if (object.is_none()) return {};
    return tensor(object, name, element, dimensions);
  }

  template <typename Params>
  void run(const Params& params,
           dsaperf_status (*stage)(const Params*, const dsaperf_execution*, dsaperf_error*),
           dsaperf_status (*workspace)(const Params*, const dsaperf_execution*, std::size_t*,
                                       dsaperf_error*)) {
    dsaperf_error error;
    auto where = execution();
    std::size_t bytes = 0;
    must(workspace(&params, &where, &bytes, &error), error);
    std::optional<Tensor> memory;
    nanobind::object owner;
    if (bytes > 0) {
      owner = options_.workspace(bytes);
      memory = tensor(owner, "workspace", Element::kByte, 1);
      where.workspace = memory->data<void>();
      where.workspace_size = bytes;
    }
    dsaperf_status status = DSAPERF_OK;
    {
      const nanobind::gil_scoped_release unlocked;
      status = stage(&params, &where, &error);
      if (status == DSAPERF_OK && place_.must_wait) wait();
    }
    must(status, error);
  }

 private:
  // The tensors' GPU is the thread's current device meanwhile: libraries export for that one.
  class OnDevice {
   public:
    explicit OnDevice(const Place& place);
    ~OnDevice();
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

   private:
    int before_ = -1;
  };

  dsaperf_execution execution() const;
  // Until what is on the stream is done.
  void wait() const;

  Options options_;
  Place place_;
  std::optional<OnDevice> on_device_;
};

}  // namespace dsaperf::python
