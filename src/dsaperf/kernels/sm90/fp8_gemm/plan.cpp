#include "dsaperf/kernels/sm90/fp8_gemm/plan.hpp"

#include "dsaperf/core/ceil_div.hpp"

#include <algorithm>

namespace dsaperf::kernels::sm90 {
namespace {

// As many as there is room for on the device, two an SM, each with four steps at least.
int parts_of(std::int64_t tiles, int steps, int sm_count) {
  constexpr int kFewestSteps = 4;
  int parts = 1;
  while (parts < kFewRowsMostParts && tiles * parts < sm_count && steps >= 2 * parts * kFewestSteps)
    parts *= 2;
  return parts;
}

// Times of kernels in microseconds, measured on an H200 with the projections of DeepSeek-V3.2: what
// comes once, then turns of the device times what a turn takes when all SMs work. They only have to
// tell which kernel is faster.
double few_rows_time(std::int64_t tiles, int parts, int steps, int sm_count) {
  constexpr double kOnce = 5.6;
  constexpr double kStepAlone = 0.43;
  constexpr double kStepOfTwo = 0.65;  // two CTAs share an SM
  const std::int64_t ctas = tiles * parts;
  const std::int64_t turns = ceil_div(ctas, 2 * std::int64_t{sm_count});
  return kOnce +
         static_cast<double>(turns * steps) / parts * (ctas <= sm_count ? kStepAlone : kStepOfTwo);
}

double many_rows_time(const ManyRowsTile& tile, std::int64_t m, std::int64_t n, int steps,
                      int sm_count) {
  constexpr double kOnce = 4.0;
  const bool side_by_side = shares_x(tile.tile_m, tile.tile_n);
  const std::int64_t tiles =
      ceil_div(m, std::int64_t{tile.tile_m} * (side_by_side ? 1 : tile.ctas)) *
      ceil_div(n, std::int64_t{tile.tile_n} * (side_by_side ? tile.ctas : 1));
  const std::int64_t turns = ceil_div(tiles, std::int64_t{sm_count / tile.ctas});
  return kOnce + static_cast<double>(turns) * (steps * tile.step_time + tile.tile_time);
}

}  // namespace

Fp8GemmPlan plan_fp8_gemm(std::int64_t m, std::int64_t n, int steps, bool takes_many_rows,
                          int sm_count) {
  constexpr int kAlwaysFew = 64;
  const std::int64_t tiles = ceil_div(n, kFewRowsTileN) * ceil_div(m, kFewRowsTileM);
  Fp8GemmPlan plan{.parts = parts_of(tiles, steps, sm_count)};
  if (m <= kAlwaysFew || !takes_many_rows) return plan;
  const auto time = [&](const ManyRowsTile& tile) {
    return many_rows_time(tile, m, n, steps, sm_count);
  };
  const ManyRowsTile& fastest = *std::ranges::min_element(kManyRowsTiles, {}, time);
  if (time(fastest) < few_rows_time(tiles, plan.parts, steps, sm_count)) plan.many_rows = &fastest;
  return plan;
}

}  // namespace dsaperf::kernels::sm90
