#pragma once

#include "dsaperf/gpu/device.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

// First line of every GPU test. Without a GPU the test is skipped, and says so; where
// DSAPERF_REQUIRE_GPU=1 is set (machines that have one), it fails, so skipped is never passed.
#define DSAPERF_REQUIRE_GPU()                                                     \
  do {                                                                            \
    if (::dsaperf::gpu::device_count() == 0) {                                    \
      const char* dsaperf_required = std::getenv("DSAPERF_REQUIRE_GPU");          \
      if (dsaperf_required != nullptr && *dsaperf_required == '1') {              \
        FAIL() << "no GPU, and DSAPERF_REQUIRE_GPU=1";                            \
      }                                                                           \
      GTEST_SKIP() << "no GPU here; set DSAPERF_REQUIRE_GPU=1 to make this fail"; \
    }                                                                             \
  } while (false)
