#pragma once

#include <cstdint>
#include <string_view>

namespace dsaperf::profile {

// One record of a profiling interface, without that interface's types: what CUPTI reports, a log
// holds, and tests make up. Times are nanoseconds of one clock for all processes of a machine.
struct Activity {
  enum class Kind : std::uint8_t {
    kKernel,
    kCopy,
    kFill,
    kCall,        // host call that launches: correlation ties it to what it launched
    kRangeStart,  // NVTX
    kRangeEnd,
    kOverhead,  // time that profiling itself took
  };

  Kind kind = Kind::kKernel;
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;
  std::uint32_t device = 0;
  std::uint32_t stream = 0;
  std::uint32_t correlation = 0;
  std::uint64_t graph_node = 0;
  std::uint64_t thread = 0;
  std::uint32_t range = 0;  // ties kRangeStart to kRangeEnd
  std::string_view name;    // valid as long as what it was read from
};

}  // namespace dsaperf::profile
