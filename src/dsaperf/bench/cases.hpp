#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/kernels/tuning.hpp"

#include <string>
#include <vector>

namespace dsaperf::bench {

// The shapes at which kernels are measured and tuned: those of benchmarks/peers, topk 2048, so that
// what is tuned is what is compared. In the order of importance: a run that is cut short has the
// first ones.
std::vector<kernels::TunedShape> shapes();

// What is in the inputs. Top-k meets both: of a model's scores most are zero where few keys match.
enum class Values { kNormal, kMostlyZero };

// What a kernel is measured on; the first says what the times of its tuning table are.
std::vector<Values> values_for(kernels::TunedKernel kernel);

// "fp8 h 64, 32 tokens"; the words of benchmarks/peers where they fit.
std::string label(const kernels::TunedShape& shape, Values values = Values::kNormal);

// What a call must compute and move: each input read once, gathered rows once a token, each output
// written once.
struct Demand {
  Flops flops;
  Bytes bytes;
  bool fp8_math = false;  // whose peak bounds it
};
Demand demand_of(const kernels::TunedShape& shape);

}  // namespace dsaperf::bench
