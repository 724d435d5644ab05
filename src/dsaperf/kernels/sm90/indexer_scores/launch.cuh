#pragma once

#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"

namespace dsaperf::kernels::sm90 {

template <class Config>
cudaError_t launch_scores(const ScoresArguments& arguments, int sm_count, cudaStream_t stream) {
  constexpr int kBytes = static_cast<int>(sizeof(ScoresShared<Config>));
  static_assert(kBytes <= Config::kMaxSharedBytes);
  const cudaError_t status = cudaFuncSetAttribute(
      scores_kernel<Config>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  if constexpr (Config::kEarly) {
    const EarlyLaunch launch(dim3(static_cast<unsigned>(sm_count)), Config::kThreads, kBytes,
                             stream);
    return cudaLaunchKernelEx(launch.config(), scores_kernel<Config>, arguments);
  } else {
    scores_kernel<Config><<<sm_count, Config::kThreads, kBytes, stream>>>(arguments);
    return cudaGetLastError();
  }
}

template <int kHeads>
cudaError_t launch_prefill_scores(const ScoresArguments& arguments, int sm_count,
                                  cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, kPrefillColumns, true, false>>(arguments, sm_count,
                                                                           stream);
}

template <int kHeads, int kColumns, bool kSplit>
cudaError_t launch_paged_scores(const ScoresArguments& arguments, int sm_count,
                                cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, kColumns, kSplit, true>>(arguments, sm_count, stream);
}

template <int kHeads>
cudaError_t launch_early_prefill_scores(const ScoresArguments& arguments, int sm_count,
                                        cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, kPrefillColumns, true, false, true>>(arguments,
                                                                                 sm_count, stream);
}

template <int kHeads, int kColumns>
cudaError_t launch_early_paged_scores(const ScoresArguments& arguments, int sm_count,
                                      cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, kColumns, false, true, true>>(arguments, sm_count,
                                                                          stream);
}

template <int kHeads>
cudaError_t launch_lean_paged_scores(const ScoresArguments& arguments, int sm_count,
                                     cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, 128, false, true, true, Leaves::kScores, true>>(
      arguments, sm_count, stream);
}

template <int kHeads>
cudaError_t launch_kept_scores(const ScoresArguments& arguments, int sm_count,
                               cudaStream_t stream) {
  return launch_scores<ScoresConfig<kHeads, 64, false, true, true, Leaves::kKept>>(
      arguments, sm_count, stream);
}

}  // namespace dsaperf::kernels::sm90
