#include "dsaperf/op/gpu_backend.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/event.hpp"
#include "dsaperf/gpu/l2_flush.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/kernels/gemm_gpu.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace dsaperf::op {
namespace {

// Device memory and one stream of its own. Stages allocate nothing: a kernel's workspace grows
// here, before it is first used, and stays.
class GpuBackend final : public Backend {
 public:
  GpuBackend(const gpu::Device& device, gpu::Stream stream, gpu::Event start, gpu::Event stop,
             kernels::GemmLibrary gemms)
      : name_(device.name),
        sm_count_(device.sm_count),
        stream_(std::move(stream)),
        start_(std::move(start)),
        stop_(std::move(stop)),
        gemms_(std::move(gemms)) {}

  std::string device_name() const override { return name_; }

  // Hopper's fp8 tensor cores keep 13 bits below the largest of the products that they add in one
  // step; a score is four steps and their accumulation: 5 * 2^-13 of a head's sum, times ten as for
  // f32 (Arithmetic). The root mean square is what eight such errors leave after they average over
  // heads. Attention weights are rounded to bf16 before they multiply values: as large an error as
  // the result's own rounding, which it is independent of, and which it may flip: sqrt(2), with
  // room 1.5.
  Arithmetic arithmetic() const override {
    return {.scores_rms = 8 * 0x1p-13,
            .scores_largest = 10 * 5 * 0x1p-13,
            .attention_rms = 1.5 * 0x1p-9};
  }

  Result<Buffer> allocate(std::size_t bytes) override {
    void* data = nullptr;
    DSAPERF_CUDA_TRY(cudaMalloc(&data, std::max<std::size_t>(bytes, 1)));
    Buffer buffer(data, bytes, [](void* owned) { cudaFree(owned); });
    DSAPERF_CUDA_TRY(cudaMemsetAsync(data, 0, bytes, stream_.get()));
    return buffer;
  }
  Result<void> upload(const void* host, std::size_t bytes, void* target) override {
    if (bytes == 0) return {};
    DSAPERF_CUDA_TRY(cudaMemcpyAsync(target, host, bytes, cudaMemcpyHostToDevice, stream_.get()));
    return stream_.synchronize();  // the caller may reuse `host`
  }
  Result<void> download(const void* source, std::size_t bytes, void* host) override {
    if (bytes == 0) return stream_.synchronize();
    DSAPERF_CUDA_TRY(cudaMemcpyAsync(host, source, bytes, cudaMemcpyDeviceToHost, stream_.get()));
    return stream_.synchronize();
  }
  Result<void> copy_rows(const void* source, std::int64_t source_stride, void* target,
                         std::int64_t target_stride, std::int64_t row_bytes,
                         std::int64_t rows) override {
    if (row_bytes == 0 || rows == 0) return {};
    DSAPERF_CUDA_TRY(cudaMemcpy2DAsync(target, target_stride, source, source_stride, row_bytes,
                                       rows, cudaMemcpyDeviceToDevice, stream_.get()));
    return {};
  }
  Result<void> flush_caches() override {
    if (!flush_) {
      DSAPERF_TRY_ASSIGN(auto flush, gpu::L2Flush::create());
      flush_ = std::move(flush);
    }
    return flush_->run(stream_.get());
  }
  Result<void> synchronise() override { return stream_.synchronize(); }
  Result<void> start_clock() override {
    DSAPERF_TRY(stream_.synchronize());
    return start_.record(stream_.get());
  }
  Result<double> stop_clock_us() override {
    DSAPERF_TRY(stop_.record(stream_.get()));
    DSAPERF_TRY(stream_.synchronize());
    DSAPERF_TRY_ASSIGN(const Micros taken, gpu::elapsed(start_, stop_));
    return taken.value;
  }

  Result<void> gemm(const kernels::GemmParams& params) override {
    return gemms_.gemm(params, stream_.get());
  }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& params) override {
    return kernels::fp8_gemm(params, stream_.get());
  }
  Result<void> quantise_groups(const kernels::QuantiseGroupsParams& params) override {
    return kernels::quantise_groups(params, stream_.get());
  }
  Result<void> rms_norm(const kernels::RmsNormParams& params) override {
    return kernels::rms_norm(params, stream_.get());
  }
  Result<void> layer_norm(const kernels::LayerNormParams& params) override {
    return kernels::layer_norm(params, stream_.get());
  }
  Result<void> rope(const kernels::RopeParams& params) override {
    return kernels::rope(params, stream_.get());
  }
  Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& params) override {
    return kernels::indexer_quantise(params, stream_.get());
  }
  Result<void> kv_cache_write(const kernels::KvCacheWriteParams& params) override {
    return kernels::kv_cache_write(params, stream_.get());
  }
  Result<void> index_key_cache_write(const kernels::IndexKeyCacheWriteParams& params) override {
    return kernels::index_key_cache_write(params, stream_.get());
  }
  Result<void> gather_index_keys(const kernels::GatherIndexKeysParams& params) override {
    return kernels::gather_index_keys(params, stream_.get());
  }
  Result<void> indexer_scores(const kernels::IndexerScoresParams& params) override {
    return kernels::indexer_scores(params, stream_.get());
  }
  Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& params) override {
    DSAPERF_TRY_ASSIGN(const auto bytes,
                       kernels::paged_indexer_scores_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::paged_indexer_scores(params, workspace_.data(), workspace_.size(),
                                         stream_.get());
  }
  Result<void> topk(const kernels::TopkParams& params) override {
    DSAPERF_TRY_ASSIGN(const auto bytes, kernels::topk_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::topk(params, workspace_.data(), workspace_.size(), stream_.get());
  }
  Result<void> selection_rows(const kernels::SelectionRowsParams& params) override {
    return kernels::selection_rows(params, stream_.get());
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& params) override {
    // Few tokens leave SMs idle unless their lists are split.
    if (params.tokens > sm_count_) return kernels::sparse_mla_prefill(params, stream_.get());
    DSAPERF_TRY_ASSIGN(const auto bytes, kernels::sparse_mla_decode_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::sparse_mla_decode(params, workspace_.data(), workspace_.size(), stream_.get());
  }

 private:
  Result<void> reserve(std::size_t bytes) {
    if (bytes <= workspace_.size()) return {};
    DSAPERF_TRY_ASSIGN(workspace_, gpu::DeviceArray<unsigned char>::uninitialized(bytes));
    return {};
  }

  std::string name_;
  int sm_count_;
  gpu::Stream stream_;
  gpu::Event start_;
  gpu::Event stop_;
  kernels::GemmLibrary gemms_;
  gpu::DeviceArray<unsigned char> workspace_;
  std::optional<gpu::L2Flush> flush_;
};

}  // namespace

Result<std::unique_ptr<Backend>> gpu_backend() {
  if (gpu::device_count() == 0) {
    return fail(Errc::kNotFound, "no GPU: the driver shows none; use --device cpu");
  }
  DSAPERF_TRY_ASSIGN(const auto device, gpu::current_device());
  if (!device.is_hopper()) {
    return fail(
        Errc::kUnsupported,
        "{} is sm_{}{}: the kernels here are for sm_90a (H100, H200, H20); use --device cpu",
        device.name, device.capability_major, device.capability_minor);
  }
  DSAPERF_TRY_ASSIGN(auto stream, gpu::Stream::create());
  DSAPERF_TRY_ASSIGN(auto gemms, kernels::GemmLibrary::create());
  DSAPERF_TRY_ASSIGN(auto start, gpu::Event::create());
  DSAPERF_TRY_ASSIGN(auto stop, gpu::Event::create());
  return std::make_unique<GpuBackend>(device, std::move(stream), std::move(start), std::move(stop),
                                      std::move(gemms));
}

}  // namespace dsaperf::op
