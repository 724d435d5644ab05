#pragma once

#include <string_view>

namespace dsaperf {

// Names of the ranges (NVTX) by which programs of ours tell a profiler what they launch.
inline constexpr std::string_view kStageRange = "stage/";  // begins it; the stage's name follows
// Warm passes that are timed: set-up, warm-up and cold passes are outside.
inline constexpr std::string_view kTimedRange = "timed";

}  // namespace dsaperf
