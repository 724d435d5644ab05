#include "dsaperf/kernels/topk.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <optional>

namespace dsaperf::kernels {
namespace {

// Nothing where the plan names no kernel, or one too small for the rows.
std::optional<cudaError_t> launch(const sm90::TopkArguments& arguments, const sm90::TopkPlan& plan,
                                  CUstream_st* stream) {
  if (plan.in_registers == 0) {
    if (plan.threads == 256) return sm90::launch_topk<256>(arguments, plan.cluster, stream);
    if (plan.threads == 512) return sm90::launch_topk<512>(arguments, plan.cluster, stream);
    if (plan.threads == 1024) return sm90::launch_topk<1024>(arguments, plan.cluster, stream);
    return std::nullopt;
  }
  if (plan.spread) {
    if (arguments.columns > plan.cluster * plan.threads * plan.in_registers) return std::nullopt;
    if (plan.threads == 512) {
      if (plan.in_registers == 4)
        return sm90::launch_spread_topk<512, 4>(arguments, plan.cluster, stream);
      if (plan.in_registers == 8)
        return sm90::launch_spread_topk<512, 8>(arguments, plan.cluster, stream);
      if (plan.in_registers == 16)
        return sm90::launch_spread_topk<512, 16>(arguments, plan.cluster, stream);
    }
    if (plan.threads == 1024 && plan.in_registers == 8)
      return sm90::launch_spread_topk<1024, 8>(arguments, plan.cluster, stream);
    return std::nullopt;
  }
  if (arguments.columns > plan.threads * plan.in_registers) return std::nullopt;
  if (plan.threads == 1024) {
    if (plan.in_registers == 4) return sm90::launch_short_topk<1024, 4>(arguments, stream);
    if (plan.in_registers == 8) return sm90::launch_short_topk<1024, 8>(arguments, stream);
  }
  if (plan.in_registers == 16 && plan.threads == 256) {
    return sm90::launch_short_topk<256, 16>(arguments, stream);
  }
  return std::nullopt;
}

}  // namespace

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
                                      .window = plan.window,
                                      .rows_per_end = p.rows_per_end};
  const std::optional<cudaError_t> launched = launch(arguments, plan, stream);
  if (!launched) {
    return fail(Errc::kUnsupported, "topk: no kernel of {} threads with {} elements in registers",
                plan.threads, plan.in_registers);
  }
  DSAPERF_CUDA_TRY(*launched);
  return {};
}

TunedShape topk_shape(const TopkParams& params) {
  return {.kernel = TunedKernel::kTopk, .rows = params.rows, .columns = params.columns};
}

Result<void> topk_variant(const TopkParams& params, Variant variant, CUstream_st* stream) {
  sm90::TopkPlan plan{.spread = true, .cluster = spread_cluster(variant, params.columns)};
  switch (variant) {
    case Variant::kDefault: {
      DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
      plan = sm90::plan_topk(params.rows, params.columns, params.topk, sm_count);
      break;
    }
    case Variant::kSpread512x4:
      plan.threads = 512;
      plan.in_registers = 4;
      break;
    case Variant::kSpread512x8:
      plan.threads = 512;
      plan.in_registers = 8;
      break;
    case Variant::kSpread512x16:
      plan.threads = 512;
      plan.in_registers = 16;
      break;
    case Variant::kSpread1024x8:
      plan.threads = 1024;
      plan.in_registers = 8;
      break;
    default:
      return fail(Errc::kUnsupported, "topk: no variant {}", name(variant));
  }
  if (plan.cluster == 0)
    return fail(Errc::kUnsupported, "topk: {} columns do not fit variant {}", params.columns,
                name(variant));
  return topk_planned(params, plan, stream);
}

Result<void> topk(const TopkParams& params, void* /*workspace*/, std::size_t /*workspace_size*/,
                  CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(topk_shape(params)));
  return topk_variant(params, variant, stream);
}

}  // namespace dsaperf::kernels
