// Any text: tables come out whose rows can be looked up, or an error does.

#include "dsaperf/perfdb/method_table.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dsaperf::perfdb::MethodSubject subject{.model = "m",
                                               .architecture = "a",
                                               .gemm_dtype = "bfloat16",
                                               .heads = 128,
                                               .index_heads = 64,
                                               .topk = 2048};
  const auto tables =
      dsaperf::perfdb::parse_method_csv({reinterpret_cast<const char*>(data), size}, subject);
  if (!tables) return 0;
  for (const auto* table : {&tables->context, &tables->generation}) {
    for (const auto& row : table->rows) {
      if (row.slice < 0 || static_cast<std::size_t>(row.slice) >= table->slices.size())
        std::abort();
      if (!(row.latency.value > 0) || !std::isfinite(row.latency.value)) std::abort();
      if (row.heads < 1 || row.batch < 1 || row.new_tokens < 0 || row.past_tokens < 0) std::abort();
    }
  }
  return 0;
}
