#pragma once

#include "dsaperf/predict/stages/calibration.hpp"
#include "dsaperf/predict/stages/left_out_weights.hpp"
#include "dsaperf/predict/stages/part_model.hpp"

#include <cstdint>

namespace dsaperf::predict::stages {

// How wide the intervals of a part must be: measured on rows left out alone and by slices, with the
// neighbours that predictions use and `weights` that never saw them. The part's own calibration is
// not looked at. `seed`: of the choice of rows.
Calibration calibrate(const PartModel& part, LeftOutWeights& weights, std::uint64_t seed);

}  // namespace dsaperf::predict::stages
