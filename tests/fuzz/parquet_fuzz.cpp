// A Parquet table of any bytes. Arrow's own code is not instrumented; what is looked for is a
// crash, and what our reader makes of what Arrow lets through.

#include "dsaperf/perfdb/dsa_table.hpp"
#include "memory_file.hpp"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dsaperf::fuzz::MemoryFile file(data, size);
  (void)dsaperf::perfdb::read_dsa_file(file.path(), dsaperf::perfdb::Phase::kContext);
  return 0;
}
