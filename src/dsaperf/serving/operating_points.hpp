#pragma once

#include "dsaperf/serving/swept_layout.hpp"

namespace dsaperf::serving {

// All operating points of a layout that fit, and what it can do as a worker of one phase; or why
// it is rejected. Safe to call for several layouts at once.
void price(SweptLayout& layout, const SweepTask& task);

}  // namespace dsaperf::serving
