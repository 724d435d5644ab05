// A safetensors header of any bytes before data of any length: accepted or one error.

#include "dsaperf/op/safetensors.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{64}, INT64_MAX}) {
    const auto checked = dsaperf::op::check_safetensors_header(text, bytes);
    if (!checked && checked.error().message().empty()) std::abort();
  }
  return 0;
}
