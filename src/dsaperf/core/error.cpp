#include "dsaperf/core/error.hpp"

namespace dsaperf {

std::string_view name(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid_argument";
    case Errc::kNotFound:
      return "not_found";
    case Errc::kParse:
      return "parse";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kIo:
      return "io";
    case Errc::kOutOfMemory:
      return "out_of_memory";
    case Errc::kCuda:
      return "cuda";
  }
  return "unknown";
}

}  // namespace dsaperf
