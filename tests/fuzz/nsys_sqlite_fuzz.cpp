// Any bytes as a database: kernels come out or an error does.

#include "dsaperf/trace/importers/nsys_sqlite.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto timeline =
      dsaperf::trace::read_nsys_sqlite(std::string(reinterpret_cast<const char*>(data), size));
  if (timeline && timeline->launches.empty()) std::abort();
  return 0;
}
