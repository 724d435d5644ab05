#pragma once

#include <array>
#include <cstdint>

namespace dsaperf::kernels::sm90 {

// few_rows.cuh: the weights are read once for up to so many rows of x; tiles of 64 columns of y.
inline constexpr int kFewRowsTileM = 128;
inline constexpr int kFewRowsTileN = 64;
inline constexpr int kFewRowsMostParts =
    8;  // CTAs that share the sum of a tile: a portable cluster

// many_rows.cuh fetches the scales of so many steps of 128 of k at a time: their number is a
// multiple.
inline constexpr int kManyRowsScaleSteps = 4;

// Of two tiles of many_rows.cuh that a cluster takes: whether they share their rows of x, else
// those of w, whichever are more.
constexpr bool shares_x(int tile_m, int tile_n) {
  return tile_m > tile_n;
}

// A tile of many_rows.cuh, and how many CTAs of a cluster take such tiles beside each other.
struct ManyRowsTile {
  int tile_m;
  int tile_n;
  int ctas;
  // Microseconds, measured on an H200 (benchmarks/results/h200_sxm/gemm_trial.json): of a step of
  // 128 of k, and of the rest of a tile, while all SMs work.
  double step_time;
  double tile_time;
};

inline constexpr std::array<ManyRowsTile, 7> kManyRowsTiles = {{{256, 128, 2, 0.653, 2.2},
                                                                {192, 128, 2, 0.492, 1.4},
                                                                {128, 192, 2, 0.501, 1.2},
                                                                {128, 192, 1, 0.498, 1.3},
                                                                {128, 128, 2, 0.374, 0.6},
                                                                {128, 128, 1, 0.362, 0.8},
                                                                {128, 64, 1, 0.264, 0.7}}};

// How y of m rows and n columns is made in `steps` of 128 of k.
struct Fp8GemmPlan {
  const ManyRowsTile* many_rows = nullptr;  // one of kManyRowsTiles; null: by few_rows.cuh
  int parts = 1;  // of few_rows.cuh: CTAs that share a tile's sum, for up to 128 rows whatever m is
};

// The faster of what there is. Up to 64 rows always few_rows.cuh: the weights' bytes decide, and a
// row's bits do not depend on the others. `takes_many_rows`: whether many_rows.cuh can.
Fp8GemmPlan plan_fp8_gemm(std::int64_t m, std::int64_t n, int steps, bool takes_many_rows,
                          int sm_count);

}  // namespace dsaperf::kernels::sm90
