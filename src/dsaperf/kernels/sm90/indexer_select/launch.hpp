#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace dsaperf::kernels::sm90 {

inline constexpr int kMostScoringCtas = 512;
inline constexpr int kSelectListed = 16384;  // elements selected from within shared memory

struct SelectKeptArguments {
  KeptLists kept{};
  const std::int32_t* context_length = nullptr;  // [requests]
  std::int32_t* indices = nullptr;
  std::int64_t indices_stride = 0;
  std::int32_t requests = 0;
  std::int32_t keys = 0;    // no request has more
  std::int32_t ctas = 0;    // that scored
  std::int32_t window = 0;  // positions that the bitmap of the result holds; a multiple of 128
};

// Positions that the bitmap can hold at most.
inline constexpr int kSelectKeptMostWindow = 1 << 18;

// Selects from what launch_kept_scores has left on the stream before it.
cudaError_t launch_select_kept(const SelectKeptArguments& arguments, cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
