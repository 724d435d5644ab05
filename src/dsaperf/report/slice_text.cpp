#include "dsaperf/report/slice_text.hpp"

#include <fmt/format.h>

namespace dsaperf::report {

std::string slice_text(const perfdb::DsaSlice& slice) {
  return fmt::format("{} kv {} gemm {}{}", slice.model.empty() ? slice.architecture : slice.model,
                     slice.kv_dtype, slice.gemm_dtype, slice.shares_selection ? " shared" : "");
}

}  // namespace dsaperf::report
