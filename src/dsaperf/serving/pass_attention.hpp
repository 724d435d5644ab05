#pragma once

#include "dsaperf/serving/pass_writer.hpp"

namespace dsaperf::serving {

// The lines of attention: one of DSA's table; MLA's module or its kernels.
Result<void> write_attention(PassWriter& pass);

// The same where SGLang has its experts behind DeepEP's exchanges: between a gather and a scatter
// where ranks share a prompt's tokens, and MLA by a table of its own.
Result<void> write_attention_beside_deepep(PassWriter& pass);

}  // namespace dsaperf::serving
