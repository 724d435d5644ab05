// A trace of any bytes, of every format that is recognised by content: a timeline with kernels, or
// one error.

#include "dsaperf/trace/read_trace.hpp"
#include "memory_file.hpp"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dsaperf::fuzz::MemoryFile file(data, size);
  const auto timeline = dsaperf::trace::read_trace(file.path());
  if (timeline ? dsaperf::trace::kernel_sums(*timeline).empty()
               : timeline.error().message().empty())
    std::abort();
  return 0;
}
