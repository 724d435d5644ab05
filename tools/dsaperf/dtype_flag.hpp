#pragma once

#include "dsaperf/perfdb/table_dtype.hpp"

#include <initializer_list>
#include <string>

namespace dsaperf::tool {

// Formats that flags name, as tables spell them.
inline void spell_as_tables_do(std::initializer_list<std::string*> dtypes) {
  for (auto* dtype : dtypes) *dtype = perfdb::table_dtype(*dtype);
}

}  // namespace dsaperf::tool
