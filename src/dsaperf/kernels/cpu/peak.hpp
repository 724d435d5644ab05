#pragma once

#include "dsaperf/core/error.hpp"

namespace dsaperf::kernels::cpu {

// What this machine reaches now, on `threads` cores: the ceilings that a time on the CPU is held
// against. Each takes about a tenth of a second; other work on the machine lowers them.
Result<double> measured_flop_per_s(int threads);  // f32 matrix products out of the caches
double measured_bytes_per_s(int threads);         // memory read and written by a copy, both counted

}  // namespace dsaperf::kernels::cpu
