#include "dsaperf/bench/measure.hpp"

#include "dsaperf/bench/inputs.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/nvml.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <cmath>
#include <cstring>
#include <span>

namespace dsaperf::bench {
namespace {

using kernels::Variant;

using Bytes8 = std::vector<std::uint8_t>;

// Relative difference in the 2-norm of two lists of bf16 values; infinite where one is NaN.
double bf16_apart(const Bytes8& a, const Bytes8& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i + 1 < a.size(); i += 2) {
    std::uint16_t left = 0, right = 0;
    std::memcpy(&left, &a[i], 2);
    std::memcpy(&right, &b[i], 2);
    const double x = kernels::bf16_to_float(left), y = kernels::bf16_to_float(right);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  const double apart = std::sqrt(difference / std::max(size, 1e-30));
  return std::isfinite(apart) ? apart : HUGE_VAL;
}

bool same_result(Equality equality, const Bytes8& got, const Bytes8& expected) {
  if (got.size() != expected.size()) return false;
  if (equality == Equality::kBits) return got == expected;
  return bf16_apart(got, expected) <= std::ldexp(1.0, -7);  // a few roundings to bf16
}

Result<Bytes8> result_of(Inputs& inputs, Variant variant) {
  DSAPERF_TRY(inputs.prepare(variant));
  DSAPERF_TRY(inputs.run(variant, nullptr));
  return inputs.output();
}

// Adds the timings of these variants on these values.
Result<void> measure_on(Values values, const kernels::TunedShape& shape,
                        std::span<const Variant> variants, const MeasureOptions& options,
                        std::vector<Timing>& timings) {
  DSAPERF_TRY_ASSIGN(const auto inputs, make_inputs(shape, values));
  gpu::TimingOptions timing_options;
  if (options.quick)
    timing_options = {.warmup = 2, .cold_samples = 7, .warm_samples = 3, .calls_per_graph = 10};
  if (options.begins) options.begins(Variant::kDefault);
  DSAPERF_TRY_ASSIGN(const auto expected, result_of(*inputs, Variant::kDefault));
  for (const Variant variant : variants) {
    Timing timing{.shape = shape, .variant = variant, .values = values, .cold = {}, .warm = {}};
    if (options.begins) options.begins(variant);
    DSAPERF_TRY_ASSIGN(const auto got, result_of(*inputs, variant));
    timing.right = same_result(equality_of(shape.kernel), got, expected);
    const gpu::StreamWork work = [&](CUstream_st* stream) { return inputs->run(variant, stream); };
    DSAPERF_TRY_ASSIGN(const auto cold, gpu::time_cold(work, timing_options));
    DSAPERF_TRY_ASSIGN(const auto warm, gpu::time_warm(work, timing_options));
    timing.cold = cold.median;
    timing.warm = warm.median;
    // The range of many cold samples holds outliers of the launch; the warm ones are the noise.
    timing.spread = warm.spread();
    timings.push_back(timing);
  }
  return {};
}

}  // namespace

Result<Card> card() {
  DSAPERF_TRY_ASSIGN(const auto device, gpu::current_device());
  Card card{.device = device.name, .sm_count = device.sm_count, .throttled = {}};
  const auto nvml = gpu::Nvml::load();
  if (!nvml) return card;
  if (const auto state = nvml->state(device.pci_bus_id)) {
    card.sm_mhz = state->sm_mhz;
    card.sm_mhz_max = state->sm_mhz_max;
    card.power_limit_w = state->power_limit_w;
    card.throttled = state->throttle_reasons();
  }
  return card;
}

Result<std::vector<Timing>> measure(const kernels::TunedShape& shape,
                                    const MeasureOptions& options) {
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  std::vector<Variant> variants;
  if (options.all_variants) {
    variants = kernels::variants_of(shape, sm_count);
    std::erase_if(variants, [&](Variant each) {
      return each != Variant::kDefault &&
             std::ranges::find(options.without, each) != options.without.end();
    });
  } else {
    DSAPERF_TRY_ASSIGN(const Variant chosen, kernels::tuned_variant(shape));
    variants = {chosen};
  }
  std::vector<Timing> timings;
  for (const Values values : values_for(shape.kernel))
    DSAPERF_TRY(measure_on(values, shape, variants, options, timings));
  return timings;
}

}  // namespace dsaperf::bench
