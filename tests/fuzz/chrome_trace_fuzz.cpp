// Any bytes: a timeline comes out whose launches are usable, or an error does.

#include "dsaperf/trace/importers/chrome_trace.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = dsaperf::ByteReader::over({reinterpret_cast<const char*>(data), size});
  if (!bytes) return 0;
  auto timeline = dsaperf::trace::read_chrome_trace(*std::move(bytes));
  if (!timeline) return 0;
  timeline->sort();
  for (const auto& launch : timeline->launches) {
    if (!(launch.duration_ns >= 0) || !std::isfinite(launch.start_ns)) std::abort();
    if (launch.name >= timeline->names.size()) std::abort();
  }
  (void)dsaperf::trace::kernel_sums(*timeline);
  return 0;
}
