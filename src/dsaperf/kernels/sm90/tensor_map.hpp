#pragma once

#include "dsaperf/core/error.hpp"

#include <cuda.h>

#include <cstdint>
#include <span>

namespace dsaperf::kernels::sm90 {

// One dimension of what the copy engine reads, innermost first.
struct TensorMapAxis {
  std::uint64_t size;          // elements
  std::uint64_t stride_bytes;  // ignored for the innermost axis, whose elements are dense
  std::uint32_t box;           // elements of one copy; at most 256
};

enum class TensorMapElement { kByte, kBf16, kFloat };
constexpr int bytes_of(TensorMapElement element) {
  return element == TensorMapElement::kByte ? 1 : element == TensorMapElement::kBf16 ? 2 : 4;
}
enum class TensorMapSwizzle { kNone, k128Bytes };

// Describes a tensor in device memory to the copy engine; elements outside it read as zero. The
// driver is asked for at run time, so nothing links with it. Fails with kInvalidArgument where the
// address or a stride is not a multiple of 16 bytes. About 1 us of host time.
Result<CUtensorMap> make_tensor_map(const void* data, TensorMapElement element,
                                    std::span<const TensorMapAxis> axes, TensorMapSwizzle swizzle);

}  // namespace dsaperf::kernels::sm90
