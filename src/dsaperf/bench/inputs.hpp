#pragma once

#include "dsaperf/bench/cases.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/timing.hpp"
#include "dsaperf/kernels/tuning.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace dsaperf::bench {

// Inputs of one kernel at one shape on the device, and how to run a variant of it. Values are
// random: repeated patterns of normal numbers, lists of distinct rows in random order.
class Inputs {
 public:
  virtual ~Inputs() = default;

  // Enqueues one call of the variant; prepare() comes first.
  virtual Result<void> run(kernels::Variant variant, CUstream_st* stream) = 0;
  // Allocates what the variant needs beside the inputs, and poisons the output.
  virtual Result<void> prepare(kernels::Variant variant) = 0;
  // The output, or the first and last megabytes of a large one.
  virtual Result<std::vector<std::uint8_t>> output() const = 0;
};

// How a result is compared with the default's.
enum class Equality { kBits, kBf16 };
Equality equality_of(kernels::TunedKernel kernel);

// `values` is one of values_for(shape.kernel).
Result<std::unique_ptr<Inputs>> make_inputs(const kernels::TunedShape& shape, Values values);

}  // namespace dsaperf::bench
