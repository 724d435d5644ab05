#pragma once

#include "dsaperf/core/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {

// Which GPUs to use: for each a value of CUDA_VISIBLE_DEVICES that shows its worker that one alone.
// `asked`: "all", or numbers among the visible ones ("0,2"). `visible`: CUDA_VISIBLE_DEVICES as it
// is now, empty where it is not set; then the GPUs are 0 ... count - 1. Fails with kInvalidArgument
// for a number that is none or stands twice; with kNotFound where `asked` is well-formed and there
// is no GPU at all.
Result<std::vector<std::string>> devices_to_use(std::string_view asked, std::string_view visible,
                                                int count);

}  // namespace dsaperf::collect
