#pragma once

#include "dsaperf/cost/system_spec.hpp"

#include <cstdint>
#include <optional>

// A card of round numbers, for tests.
namespace dsaperf::cost::testing {

inline SystemSpec card(double gib = 141) {
  SystemSpec system;
  system.name = "test_card";
  system.hbm_bytes_per_s = 4e12;
  system.hbm_capacity = Bytes{static_cast<std::int64_t>(gib * (1 << 30))};
  system.peak_flop_per_s = {1e15, 2e15, std::nullopt, std::nullopt};
  return system;
}

}  // namespace dsaperf::cost::testing
