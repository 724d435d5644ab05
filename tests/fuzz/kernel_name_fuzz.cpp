// Any name: it has a canonical form, which has a short one, and a canonical form is its own.

#include "dsaperf/trace/kernel_name.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto name = dsaperf::trace::canonical_name(text);
  if (dsaperf::trace::display_name(name, 20).size() > 20) std::abort();
  if (!dsaperf::trace::same_function(name, name)) std::abort();
  (void)name.key();
  return 0;
}
