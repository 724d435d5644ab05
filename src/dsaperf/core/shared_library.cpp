#include "dsaperf/core/shared_library.hpp"

#include "dsaperf/core/fail.hpp"

#include <dlfcn.h>

namespace dsaperf {

Result<void*> function_of_library(const char* file, const char* function) {
  // Lazily bound: of Arrow's 5,700 foreign functions a reader calls a few hundred.
  void* const library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    return fail(Errc::kUnsupported, "{} does not load ({})", file,
                reason != nullptr ? reason : "no reason given");
  }
  auto* const found = dlsym(library, function);
  if (found == nullptr) return fail(Errc::kUnsupported, "{} is of another version", file);
  return found;
}

}  // namespace dsaperf
