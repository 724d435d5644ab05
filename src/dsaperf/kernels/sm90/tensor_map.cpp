#include "dsaperf/kernels/sm90/tensor_map.hpp"

#include "dsaperf/core/fail.hpp"

#include <cuda_runtime_api.h>

#include <array>

namespace dsaperf::kernels::sm90 {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// Null where the driver is missing or older than the function.
Encode encode_function() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  constexpr unsigned kVersion = 12000;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, kVersion,
                                       cudaEnableDefault, &found) != cudaSuccess ||
      found != cudaDriverEntryPointSuccess) {
    return nullptr;
  }
  return reinterpret_cast<Encode>(entry);
}

CUtensorMapDataType data_type(TensorMapElement element) {
  switch (element) {
    case TensorMapElement::kBf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case TensorMapElement::kFloat:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case TensorMapElement::kByte:
      break;
  }
  return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

}  // namespace

Result<CUtensorMap> make_tensor_map(const void* data, TensorMapElement element,
                                    std::span<const TensorMapAxis> axes, TensorMapSwizzle swizzle) {
  static const Encode kEncode = encode_function();
  if (kEncode == nullptr) {
    return fail(Errc::kUnsupported, "the CUDA driver has no cuTensorMapEncodeTiled");
  }
  constexpr std::size_t kMaxAxes = 3;
  std::array<cuuint64_t, kMaxAxes> sizes{};
  std::array<cuuint64_t, kMaxAxes> strides{};
  std::array<cuuint32_t, kMaxAxes> boxes{};
  std::array<cuuint32_t, kMaxAxes> steps{};
  if (axes.empty() || axes.size() > kMaxAxes) {
    return fail(Errc::kInvalidArgument, "a tensor map of {} axes", axes.size());
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    sizes[i] = axes[i].size;
    boxes[i] = axes[i].box;
    steps[i] = 1;
    if (i > 0) strides[i - 1] = axes[i].stride_bytes;
  }
  CUtensorMap map{};
  const CUresult status = kEncode(
      &map, data_type(element), static_cast<cuuint32_t>(axes.size()), const_cast<void*>(data),
      sizes.data(), strides.data(), boxes.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzle == TensorMapSwizzle::kNone ? CU_TENSOR_MAP_SWIZZLE_NONE : CU_TENSOR_MAP_SWIZZLE_128B,
      // Asked for 256 bytes at a time, memory gives 7 % less (docs/kernels/indexer_scores.md).
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    return fail(Errc::kInvalidArgument,
                "the driver refused a tensor map (CUresult {}): address and strides must be "
                "multiples of 16 bytes",
                static_cast<int>(status));
  }
  return map;
}

}  // namespace dsaperf::kernels::sm90
