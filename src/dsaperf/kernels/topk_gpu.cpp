#include "dsaperf/kernels/topk.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"

namespace dsaperf::kernels {

Result<std::size_t> topk_workspace(const TopkParams& params, int /*sm_count*/) {
  DSAPERF_TRY(topk_check(params));
  return std::size_t{0};  // a row never leaves the shared memory of the CTAs that read it
}

Result<void> topk_planned(const TopkParams& params, const sm90::TopkPlan& plan,
                          CUstream_st* stream) {
  DSAPERF_TRY(topk_check(params));
  const auto& p = params;
  if (p.rows == 0) return {};
  if (p.topk > sm90::kTopkMost)
    return fail(Errc::kUnsupported, "topk: topk {} > {}", p.topk, sm90::kTopkMost);
  if (p.rows > INT32_MAX / plan.cluster)
    return fail(Errc::kUnsupported, "topk: {} rows do not fit a grid", p.rows);
  const sm90::TopkArguments arguments{.scores = p.scores,
                                      .start = p.start,
                                      .end = p.end,
                                      .indices = p.indices,
                                      .scores_stride = p.scores_stride,
                                      .indices_stride = p.indices_stride,
                                      .rows = static_cast<std::int32_t>(p.rows),
                                      .columns = static_cast<std::int32_t>(p.columns),
                                      .topk = p.topk,
                                      .capacity = plan.capacity,
                                      .window = plan.window};
  DSAPERF_CUDA_TRY(plan.threads == 1024
                       ? sm90::launch_topk_of<1024>(arguments, plan.cluster, stream)
                       : sm90::launch_topk_of<256>(arguments, plan.cluster, stream));
  return {};
}

Result<void> topk(const TopkParams& params, void* /*workspace*/, std::size_t /*workspace_size*/,
                  CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  return topk_planned(params, sm90::plan_topk(params.rows, params.columns, params.topk, sm_count),
                      stream);
}

}  // namespace dsaperf::kernels
