#pragma once

#include <cstdint>

namespace dsaperf::kernels::rows {

// CTAs for `work` items at `per_cta` each. Kernels stride over what is left, so the cap only keeps
// the grid within what the hardware takes.
inline unsigned grid_size(std::int64_t work, std::int64_t per_cta) {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  const std::int64_t wanted = (work + per_cta - 1) / per_cta;
  return static_cast<unsigned>(wanted < kMost ? wanted : kMost);
}

}  // namespace dsaperf::kernels::rows
