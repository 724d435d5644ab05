#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"

#include <tuple>

namespace dsaperf::perfdb {

// What AIConfigurator keys a row by: its reader ignores the model and the kernel of DSA rows.
inline auto row_key(const DsaTable& table, const DsaRow& row) {
  const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
  return std::tuple(slice.architecture, slice.mla_dtype, slice.kv_dtype, slice.gemm_dtype,
                    slice.shares_selection, row.heads, row.batch, row.new_tokens, row.past_tokens);
}

}  // namespace dsaperf::perfdb
