#pragma once

#include "dsaperf/kernels/tuning.hpp"

#include <optional>

namespace dsaperf::peers {

// What dsaperf_peers_variant has set on this thread.
std::optional<kernels::Variant>& forced_variant();

}  // namespace dsaperf::peers
