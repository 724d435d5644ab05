#pragma once

#include <string_view>

namespace dsaperf::perfdb {

// A format as tables spell it, ours and AIConfigurator's: they say bfloat16 where flags, configs
// and model::name() say bf16, and the rest alike. A view of `format` itself, or of a literal.
constexpr std::string_view table_dtype(std::string_view format) {
  return format == "bf16" ? "bfloat16" : format;
}

}  // namespace dsaperf::perfdb
