#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/op/backend.hpp"

#include <cstdint>
#include <memory>

namespace dsaperf::collect {

// The weights of a product on a backend: normal, sigma k^-0.5; a piece of 128 rows or more that
// repeats, since what is in them does not change the time and drawing a billion would.
struct GemmWeights {
  std::int64_t n = 0, k = 0;
  model::WeightFormat format = model::WeightFormat::kBf16;
  op::Buffer values;  // bf16 or e4m3
  op::Buffer scales;  // of 128 x 128 blocks; of fp8 alone

  static Result<GemmWeights> make(op::Backend& backend, std::int64_t n, std::int64_t k,
                                  model::WeightFormat format);
  bool serve(const Case& what) const {
    return what.product->n == n && what.product->k == k && what.gemm == format;
  }
};

// A product ready to run again and again, as a linear layer runs it: x and y are bf16, and with fp8
// weights x is quantised first, by the kernel that a layer's projections have it from. Samples as
// of op::LayerTimer.
//
// Not thread-safe. The backend and the weights must outlive it.
class GemmTimer {
 public:
  // Draws x, runs the product once, so that libraries choose their kernels, and records it unless
  // it is launched eagerly.
  static Result<std::unique_ptr<GemmTimer>> create(op::Backend& backend, const GemmWeights& weights,
                                                   std::int64_t m, Launch launch);
  GemmTimer(const GemmTimer&) = delete;
  GemmTimer& operator=(const GemmTimer&) = delete;
  ~GemmTimer() = default;

  Result<Micros> cold();
  Result<Micros> warm(int passes);
  // Not timed; done when it returns. Launched one by one whatever is recorded: for a profiler.
  Result<void> run();
  // As it is timed.
  Result<void> replay();

 private:
  GemmTimer(op::Backend& backend, const GemmWeights& weights, std::int64_t m)
      : backend_(backend), weights_(weights), m_(m) {}

  Result<void> launch();
  Result<void> enqueue();

  op::Backend& backend_;
  const GemmWeights& weights_;
  std::int64_t m_;
  op::Buffer x_, x_values_, x_scales_, y_;
  bool is_long_ = false;  // the last one took longer than launching it could show
  std::unique_ptr<op::Recording> recording_;
};

}  // namespace dsaperf::collect
