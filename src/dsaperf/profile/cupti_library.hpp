#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace dsaperf::profile {

// The libcupti of this process, opened where needed; null, with dlerror() set, if there is none.
//
// One that the process has loaded comes first: torch brings its own, and two of them in a process
// do not work. Then $DSAPERF_CUPTI, then those that the loader finds.
void* open_cupti();

// Points `function` at the function of this name; false if the library has none.
template <typename Function>
bool find_function(void* library, Function& function, const char* name) {
  function = reinterpret_cast<std::remove_reference_t<Function>>(dlsym(library, name));
  return function != nullptr;
}

// A buffer for CUPTI's records, as its callback asks for one; buffer_completed frees it.
void give_buffer(std::size_t bytes, std::uint8_t** buffer, std::size_t* size, std::size_t* records);

}  // namespace dsaperf::profile
