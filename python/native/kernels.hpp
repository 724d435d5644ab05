#pragma once

#include <nanobind/nanobind.h>

namespace dsaperf::python {

// The stages of the C interface on tensors by DLPack. Results are tensors of the caller's; the
// Python side makes them where the caller gave none.
void bind_kernels(nanobind::module_& module);

// DsaLayer and its caches.
void bind_layer(nanobind::module_& module);

}  // namespace dsaperf::python
