#include "dsaperf/kernels/topk.hpp"

#include "dsaperf/core/ceil_div.hpp"
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
        return sm90::launch_spread_topk<512, 4>(arguments, plan.cluster, plan.alone, stream);
      if (plan.in_registers == 8)
        return sm90::launch_spread_topk<512, 8>(arguments, plan.cluster, plan.alone, stream);
      if (plan.in_registers == 16)
        return sm90::launch_spread_topk<512, 16>(arguments, plan.cluster, plan.alone, stream);
    }
    if (plan.threads == 1024) {
      if (plan.in_registers == 8)
        return sm90::launch_spread_topk<1024, 8>(arguments, plan.cluster, plan.alone, stream);
      if (plan.in_registers == 16)
        return sm90::launch_spread_topk<1024, 16>(arguments, plan.cluster, plan.alone, stream);
    }
    return std::nullopt;
  }
  if (arguments.columns > plan.threads * plan.in_registers) return std::nullopt;
  if (plan.in_registers == 8) {
    if (plan.threads == 512) return sm90::launch_short_topk<512, 8>(arguments, plan.alone, stream);
    if (plan.threads == 1024)
      return sm90::launch_short_topk<1024, 8>(arguments, plan.alone, stream);
  }
  if (plan.in_registers == 16) {
    if (plan.threads == 256) return sm90::launch_short_topk<256, 16>(arguments, plan.alone, stream);
    if (plan.threads == 512) return sm90::launch_short_topk<512, 16>(arguments, plan.alone, stream);
  }
  return std::nullopt;
}

// The segments of all rows, then what they left of each.
std::optional<cudaError_t> launch_segments(sm90::TopkArguments arguments,
                                           const sm90::TopkPlan& plan, void* workspace,
                                           CUstream_st* stream) {
  constexpr int kThreads = 1024, kValues = 16;            // of a segment
  constexpr int kSelectThreads = 512, kSelectValues = 8;  // of what is left
  constexpr int kMostCluster = 16;
  const std::int64_t columns = ceil_div(arguments.columns, plan.segments);
  const std::int64_t left = std::int64_t{plan.segments} * arguments.topk;
  int cluster = 1;
  while (cluster * kSelectThreads * kSelectValues < left && cluster <= kMostCluster) cluster *= 2;
  if (!plan.spread || plan.threads != kThreads || plan.in_registers != kValues ||
      cluster > kMostCluster || columns < arguments.topk ||
      columns > plan.cluster * kThreads * kValues)
    return std::nullopt;
  arguments.segments = plan.segments;
  arguments.segment_columns = static_cast<std::int32_t>((columns + 3) / 4 * 4);
  arguments.segment_scores = static_cast<float*>(workspace);
  arguments.segment_indices =
      reinterpret_cast<std::int32_t*>(arguments.segment_scores + arguments.rows * left);
  const cudaError_t status =
      sm90::launch_spread_topk<kThreads, kValues, sm90::SpreadRows::kSegments>(
          arguments, plan.cluster, plan.alone, stream);
  if (status != cudaSuccess) return status;
  return sm90::launch_spread_topk<kSelectThreads, kSelectValues, sm90::SpreadRows::kSelected>(
      arguments, cluster, plan.alone, stream);
}

}  // namespace

std::size_t topk_plan_workspace(const TopkParams& params, const sm90::TopkPlan& plan) {
  if (plan.segments < 2) return 0;
  return static_cast<std::size_t>(params.rows) * plan.segments * params.topk *
         (sizeof(float) + sizeof(std::int32_t));
}

Result<void> topk_planned(const TopkParams& params, const sm90::TopkPlan& plan, void* workspace,
                          std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY(topk_check(params));
  const auto& p = params;
  if (p.rows == 0) return {};
  if (p.topk > sm90::kTopkMost)
    return fail(Errc::kUnsupported, "topk: topk {} > {}", p.topk, sm90::kTopkMost);
  if (p.rows > INT32_MAX / (plan.cluster * plan.segments))
    return fail(Errc::kUnsupported, "topk: {} rows do not fit a grid", p.rows);
  if (workspace_size < topk_plan_workspace(params, plan))
    return fail(Errc::kInvalidArgument, "topk: {} bytes of workspace, {} needed by {} segments",
                workspace_size, topk_plan_workspace(params, plan), plan.segments);
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
  const std::optional<cudaError_t> launched =
      plan.segments > 1 ? launch_segments(arguments, plan, workspace, stream)
                        : launch(arguments, plan, stream);
  if (!launched) {
    return fail(Errc::kUnsupported,
                "topk: no kernel of {} threads with {} elements in registers takes {} columns in "
                "{} segments",
                plan.threads, plan.in_registers, p.columns, plan.segments);
  }
  DSAPERF_CUDA_TRY(*launched);
  return {};
}

TunedShape topk_shape(const TopkParams& params) {
  return {.kernel = TunedKernel::kTopk, .rows = params.rows, .columns = params.columns};
}

namespace {

// kUnsupported where the variant takes no row so long.
Result<sm90::TopkPlan> plan_of(const TopkParams& params, Variant variant) {
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  const auto spread = [&](int threads, int in_registers) -> Result<sm90::TopkPlan> {
    const int cluster = spread_cluster(variant, params.columns);
    if (cluster == 0)
      return fail(Errc::kUnsupported, "topk: {} columns do not fit variant {}", params.columns,
                  name(variant));
    return sm90::TopkPlan{.threads = threads,
                          .in_registers = in_registers,
                          .spread = true,
                          .cluster = cluster,
                          .alone = sm90::fit_alone(params.rows * cluster, cluster, sm_count)};
  };
  switch (variant) {
    case Variant::kDefault:
      return sm90::plan_topk(params.rows, params.columns, params.topk, sm_count);
    case Variant::kSpread512x4:
      return spread(512, 4);
    case Variant::kSpread512x8:
      return spread(512, 8);
    case Variant::kSpread512x16:
      return spread(512, 16);
    case Variant::kSpread1024x8:
      return spread(1024, 8);
    case Variant::kSpread1024x16:
      return spread(1024, 16);
    case Variant::kSegments:
      if (const auto plan = sm90::plan_segments(params.columns)) return *plan;
      return fail(Errc::kUnsupported, "topk: variant segments does not cut {} columns",
                  params.columns);
    default:
      return fail(Errc::kUnsupported, "topk: no variant {}", name(variant));
  }
}

}  // namespace

std::size_t topk_variant_workspace(const TopkParams& params, Variant variant) {
  if (variant != Variant::kSegments) return 0;
  const auto plan = sm90::plan_segments(params.columns);
  return plan ? topk_plan_workspace(params, *plan) : 0;
}

Result<void> topk_variant(const TopkParams& params, Variant variant, void* workspace,
                          std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(const auto plan, plan_of(params, variant));
  return topk_planned(params, plan, workspace, workspace_size, stream);
}

Result<std::size_t> topk_workspace(const TopkParams& params, int /*sm_count*/) {
  DSAPERF_TRY(topk_check(params));
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(topk_shape(params)));
  return topk_variant_workspace(params, variant);
}

Result<void> topk(const TopkParams& params, void* workspace, std::size_t workspace_size,
                  CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(Variant variant, tuned_variant(topk_shape(params)));
  if (workspace_size < topk_variant_workspace(params, variant)) variant = Variant::kDefault;
  return topk_variant(params, variant, workspace, workspace_size, stream);
}

}  // namespace dsaperf::kernels
