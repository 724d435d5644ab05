#pragma once

#include "dsaperf/kernels/sparse_mla.hpp"

namespace dsaperf::kernels {

// The same operation as sparse_mla_prefill and sparse_mla_decode with nothing clever: one CTA a
// (token, head), f32 throughout, no rounding before the output. A second oracle for the fast
// kernels at sizes where the reference on the host takes too long; topk up to 8192.
Result<void> sparse_mla_plain(const SparseMlaParams& params, CUstream_st* stream);

}  // namespace dsaperf::kernels
