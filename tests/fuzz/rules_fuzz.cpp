// Rules that name kernels, and descriptions of systems: YAML of any bytes.

#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/trace/rules.hpp"

#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)dsaperf::trace::RuleSet::parse(text);
  (void)dsaperf::cost::parse_system(text);
  return 0;
}
