#pragma once

#include "dsaperf/bench/measure.hpp"

#include <span>
#include <string>

namespace dsaperf::bench {

// The tuning table that measurements make. A variant is chosen at a shape where, on all values that
// were measured, its result was right and neither its cold nor its warm time is above the default's
// by more than the noise (the larger spread of the two, at least 1 %), and the geometric mean of
// all these ratios is below 1 by more than it; of several, the one with the lowest mean. Shapes
// where the default stays have no entry.
//
// A measured shape speaks for sizes around it: up to halfway (geometrically) to the next measured
// size of the same kernel, format, heads and new tokens, and a factor of two beyond the ends (down
// to 1 where the lowest is at most 8).
kernels::TuningTable make_table(const Card& card, const std::string& commit,
                                std::span<const Timing> timings);

}  // namespace dsaperf::bench
