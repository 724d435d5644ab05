#pragma once

#include <initializer_list>
#include <string>

namespace dsaperf::tool {

// Formats that flags name, as tables spell them: bf16 is their bfloat16.
inline void spell_as_tables_do(std::initializer_list<std::string*> dtypes) {
  for (auto* dtype : dtypes)
    if (*dtype == "bf16") *dtype = "bfloat16";
}

}  // namespace dsaperf::tool
