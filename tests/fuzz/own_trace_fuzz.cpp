// Any bytes: what is read as our own trace is written and read again the same.

#include "dsaperf/trace/importers/own_trace.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = dsaperf::ByteReader::over({reinterpret_cast<const char*>(data), size});
  if (!bytes) return 0;
  const auto timeline = dsaperf::trace::read_own_trace(*std::move(bytes));
  if (!timeline) return 0;
  const std::string text = dsaperf::trace::own_trace_text(*timeline);
  const auto again = dsaperf::trace::read_own_trace(dsaperf::ByteReader::over(text).value());
  if (!again || dsaperf::trace::own_trace_text(*again) != text) std::abort();
  return 0;
}
