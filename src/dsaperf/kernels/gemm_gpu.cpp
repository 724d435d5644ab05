#include "dsaperf/kernels/gemm_gpu.hpp"

#include "dsaperf/core/fail.hpp"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <utility>

#define DSAPERF_CUBLAS_TRY(...)                                                                   \
  do {                                                                                            \
    if (const cublasStatus_t dsaperf_code = (__VA_ARGS__); dsaperf_code != CUBLAS_STATUS_SUCCESS) \
      return fail(Errc::kCuda, "{}: {}", #__VA_ARGS__, cublasLtGetStatusName(dsaperf_code));      \
  } while (false)

namespace dsaperf::kernels {
// Row-major y = x w^T is column-major Y^T = W X^T, so the weights are cuBLAS's A.
struct GemmLibrary::Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr;
  cublasLtMatrixLayout_t b = nullptr;
  cublasLtMatrixLayout_t d = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};

  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (operation != nullptr) cublasLtMatmulDescDestroy(operation);
    for (auto* layout : {a, b, d}) {
      if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
    }
  }
};

namespace {

Result<void> make_layout(cublasLtMatrixLayout_t* layout, cudaDataType type, std::int64_t rows,
                         std::int64_t columns, std::int64_t stride, std::int64_t batch,
                         std::int64_t batch_stride) {
  DSAPERF_CUBLAS_TRY(cublasLtMatrixLayoutCreate(layout, type, static_cast<std::uint64_t>(rows),
                                                static_cast<std::uint64_t>(columns), stride));
  if (batch == 1) return {};
  const auto count = static_cast<std::int32_t>(batch);
  DSAPERF_CUBLAS_TRY(cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                      &count, sizeof(count)));
  DSAPERF_CUBLAS_TRY(cublasLtMatrixLayoutSetAttribute(
      *layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_stride, sizeof(batch_stride)));
  return {};
}

struct Preference {
  cublasLtMatmulPreference_t handle = nullptr;
  ~Preference() {
    if (handle != nullptr) cublasLtMatmulPreferenceDestroy(handle);
  }
};

}  // namespace

GemmLibrary::GemmLibrary(cublasLtContext* handle) : handle_(handle) {
}

GemmLibrary::GemmLibrary(GemmLibrary&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      workspace_(std::move(other.workspace_)),
      plans_(std::move(other.plans_)) {
}

GemmLibrary& GemmLibrary::operator=(GemmLibrary&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(workspace_, other.workspace_);
  std::swap(plans_, other.plans_);
  return *this;
}

GemmLibrary::~GemmLibrary() {
  plans_.clear();
  if (handle_ != nullptr) cublasLtDestroy(handle_);
}

Result<GemmLibrary> GemmLibrary::create() {
  DSAPERF_TRY_ASSIGN(auto library, without_workspace());
  DSAPERF_TRY_ASSIGN(library.workspace_,
                     gpu::DeviceArray<unsigned char>::uninitialized(kWorkspaceBytes));
  return library;
}

Result<GemmLibrary> GemmLibrary::without_workspace() {
  cublasLtHandle_t handle = nullptr;
  DSAPERF_CUBLAS_TRY(cublasLtCreate(&handle));
  return GemmLibrary(handle);
}

Result<const GemmLibrary::Plan*> GemmLibrary::plan_for(const GemmParams& params) {
  const auto& p = params;
  const Shape shape(p.m, p.n, p.k, p.batch, p.x_stride, p.w_stride, p.y_stride, p.x_batch_stride,
                    p.w_batch_stride, p.y_batch_stride, static_cast<int>(p.w_layout),
                    static_cast<int>(p.output));
  if (const auto found = plans_.find(shape); found != plans_.end()) return found->second.get();
  // Prefills of every length are as many shapes; none needs its plan for long.
  constexpr std::size_t kMostPlans = 4096;
  if (plans_.size() >= kMostPlans) plans_.clear();

  auto plan = std::make_unique<Plan>();
  DSAPERF_CUBLAS_TRY(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const bool out_in = p.w_layout == WeightLayout::kOutIn;
  const cublasOperation_t transpose_a = out_in ? CUBLAS_OP_T : CUBLAS_OP_N;
  DSAPERF_CUBLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                                    &transpose_a, sizeof(transpose_a)));
  DSAPERF_TRY(make_layout(&plan->a, CUDA_R_16BF, out_in ? p.k : p.n, out_in ? p.n : p.k, p.w_stride,
                          p.batch, p.w_batch_stride));
  // One row may have any stride; cuBLAS still wants one that holds it.
  const auto stride = [&](std::int64_t given, std::int64_t row) { return std::max(given, row); };
  DSAPERF_TRY(make_layout(&plan->b, CUDA_R_16BF, p.k, p.m, stride(p.x_stride, p.k), p.batch,
                          p.x_batch_stride));
  const auto type = p.output == GemmOutput::kBf16 ? CUDA_R_16BF : CUDA_R_32F;
  DSAPERF_TRY(
      make_layout(&plan->d, type, p.n, p.m, stride(p.y_stride, p.n), p.batch, p.y_batch_stride));

  Preference preference;
  DSAPERF_CUBLAS_TRY(cublasLtMatmulPreferenceCreate(&preference.handle));
  const std::size_t workspace_bytes = kWorkspaceBytes;
  DSAPERF_CUBLAS_TRY(cublasLtMatmulPreferenceSetAttribute(
      preference.handle, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
      sizeof(workspace_bytes)));
  cublasLtMatmulHeuristicResult_t choice = {};
  int found = 0;
  DSAPERF_CUBLAS_TRY(cublasLtMatmulAlgoGetHeuristic(handle_, plan->operation, plan->a, plan->b,
                                                    plan->d, plan->d, preference.handle, 1, &choice,
                                                    &found));
  if (found == 0) {
    return fail(Errc::kUnsupported, "gemm: cuBLASLt has no algorithm for {} x {} x {}, batch {}",
                p.m, p.n, p.k, p.batch);
  }
  plan->algorithm = choice.algo;
  return plans_.emplace(shape, std::move(plan)).first->second.get();
}

Result<void> GemmLibrary::gemm(const GemmParams& params, CUstream_st* stream) {
  return gemm(params, workspace_.data(), stream);
}

Result<void> GemmLibrary::gemm(const GemmParams& params, void* workspace, CUstream_st* stream) {
  DSAPERF_TRY(gemm_check(params));
  if (params.m == 0 || params.n == 0 || params.batch == 0) return {};
  DSAPERF_TRY_ASSIGN(const auto* plan, plan_for(params));
  const float one = 1;
  const float zero = 0;
  DSAPERF_CUBLAS_TRY(cublasLtMatmul(handle_, plan->operation, &one, params.w, plan->a, params.x,
                                    plan->b, &zero, params.y, plan->d, params.y, plan->d,
                                    &plan->algorithm, workspace, kWorkspaceBytes, stream));
  return {};
}

Result<std::size_t> gemm_workspace(const GemmParams& params) {
  DSAPERF_TRY(gemm_check(params));
  return GemmLibrary::kWorkspaceBytes;
}

Result<void> gemm(const GemmParams& params, void* workspace, std::size_t workspace_size,
                  CUstream_st* stream) {
  DSAPERF_TRY(gemm_check(params));
  if (workspace == nullptr || workspace_size < GemmLibrary::kWorkspaceBytes)
    return fail(Errc::kInvalidArgument, "gemm: {} bytes of workspace, {} are needed",
                workspace == nullptr ? 0 : workspace_size, GemmLibrary::kWorkspaceBytes);
  thread_local std::map<int, GemmLibrary> libraries;
  int device = 0;
  DSAPERF_CUDA_TRY(cudaGetDevice(&device));
  auto library = libraries.find(device);
  if (library == libraries.end()) {
    DSAPERF_TRY_ASSIGN(auto made, GemmLibrary::without_workspace());
    library = libraries.emplace(device, std::move(made)).first;
  }
  return library->second.gemm(params, workspace, stream);
}

}  // namespace dsaperf::kernels
