#pragma once

#include "dsaperf/kernels/sm90/indexer_select/candidates.hpp"
#include "dsaperf/kernels/sm90/indexer_select/score_counts.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>

namespace dsaperf::kernels::sm90 {

inline constexpr int kMostScoringCtas = 512;
inline constexpr int kSelectListed = 8192;  // elements selected from within shared memory

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
inline constexpr int kSelectKeptMostWindow = 1 << 20;

// Selects from what launch_kept_scores has left on the stream before it.
cudaError_t launch_select_kept(const SelectKeptArguments& arguments, cudaStream_t stream);

struct SelectCountedArguments {
  ScoreCounts counts{};
  const float* scores = nullptr;                 // [requests, scores_stride]
  const std::int32_t* context_length = nullptr;  // [requests]
  std::int32_t* indices = nullptr;               // [requests, indices_stride]
  std::int64_t scores_stride = 0;
  std::int64_t indices_stride = 0;
  std::int32_t requests = 0;
  std::int32_t keys = 0;  // no request has more
  std::int32_t topk = 0;
  std::int32_t ctas = 0;  // that score
  // Positions that the bitmap of a CTA holds, a multiple of kSliceUnit; rows whose slices are
  // longer are selected from in rounds, by one CTA.
  std::int32_t window = 0;
};

inline constexpr int kSliceUnit = 512;  // positions that a warp takes at a time

// Positions that the bitmap can hold at most, so that two CTAs fit an SM.
inline constexpr int kSelectCountedMostWindow = 1 << 18;

// Selects from what launch_counted_scores, right before it on the stream, writes. `cluster`: CTAs
// of a request, 1, 2, 4 or 8.
cudaError_t launch_select_counted(const SelectCountedArguments& arguments, int cluster,
                                  cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
