#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/op/backend.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace dsaperf::collect {

// The weights of a product on a backend: normal, sigma k^-0.5; a piece of 128 rows or more that
// repeats, since what is in them does not change the time and drawing a billion would.
//
// In a model a whole pass goes through the L2 between two uses of one layer's weights, so that they
// come from memory each time. Here copies of them are multiplied with in turn, as many as move 128
// MB with x and y.
struct GemmWeights {
  struct Copy {
    op::Buffer values;  // bf16 or e4m3
    op::Buffer scales;  // of 128 x 128 blocks; of fp8 alone
  };

  std::int64_t n = 0, k = 0;
  model::WeightFormat format = model::WeightFormat::kBf16;
  std::vector<Copy> copies;

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
  // One product of about so many: rounds of one with each copy, behind a round that is not timed.
  Result<Micros> warm(int passes);
  // One, not timed; done when it returns. Launched one by one whatever is recorded: for a profiler.
  Result<void> run();
  // As it is timed.
  Result<void> replay();

 private:
  GemmTimer(op::Backend& backend, const GemmWeights& weights, std::int64_t m);

  Result<void> launch(const GemmWeights::Copy& weights);
  Result<void> launch_round();
  Result<void> enqueue();
  Result<void> enqueue_round();

  op::Backend& backend_;
  const GemmWeights& weights_;
  std::int64_t m_;
  int turns_;  // copies of the weights that are used
  op::Buffer x_, x_values_, x_scales_, y_;
  bool is_long_ = false;  // the last one took longer than launching it could show
  std::unique_ptr<op::Recording> one_;
  std::unique_ptr<op::Recording> round_;  // one with each copy
};

}  // namespace dsaperf::collect
