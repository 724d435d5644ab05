#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"

#include <string>

namespace dsaperf::report {

// "zai-org/GLM-5 kv fp8 gemm fp8_block shared".
std::string slice_text(const perfdb::DsaSlice& slice);

}  // namespace dsaperf::report
