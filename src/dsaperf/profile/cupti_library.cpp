#include "dsaperf/profile/cupti_library.hpp"

#include <cstdlib>
#include <initializer_list>

namespace dsaperf::profile {

void* open_cupti() {
  for (const char* name : {"libcupti.so.13", "libcupti.so.12", "libcupti.so"}) {
    if (void* loaded = dlopen(name, RTLD_NOW | RTLD_NOLOAD)) return loaded;
  }
  if (const char* named = std::getenv("DSAPERF_CUPTI")) {
    if (void* opened = dlopen(named, RTLD_NOW)) return opened;
  }
  // The newest first: an older CUPTI does not know a newer driver.
  for (const char* name :
       {"libcupti.so.13", "libcupti.so.12", "libcupti.so",
        "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so", "/usr/local/cuda/lib64/libcupti.so"}) {
    if (void* opened = dlopen(name, RTLD_NOW)) return opened;
  }
  return nullptr;
}

void give_buffer(std::size_t bytes, std::uint8_t** buffer, std::size_t* size,
                 std::size_t* records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, bytes));
  *size = *buffer != nullptr ? bytes : 0;
  *records = 0;
}

}  // namespace dsaperf::profile
