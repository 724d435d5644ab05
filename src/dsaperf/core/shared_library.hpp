#pragma once

#include "dsaperf/core/error.hpp"

namespace dsaperf {

// A library of ours that is opened when something of it is first needed, so that commands which
// need nothing of it do not pay for what it brings (Arrow, OpenBLAS). It is looked for along the
// run path of whatever holds this code and never unloaded.
//
// Fails with kUnsupported where it does not load, or has no such function.
Result<void*> function_of_library(const char* file, const char* function);

}  // namespace dsaperf
