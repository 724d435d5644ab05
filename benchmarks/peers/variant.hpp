#pragma once

#include "dsaperf/kernels/tuning.hpp"

#include <cstddef>
#include <optional>
#include <span>

namespace dsaperf::peers {

// What dsaperf_peers_variant has set on this thread.
std::optional<kernels::Variant>& forced_variant();

// What dsaperf_peers_workspace has set on this thread.
std::span<std::byte>& workspace();

}  // namespace dsaperf::peers
