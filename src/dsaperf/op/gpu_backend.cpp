#include "dsaperf/op/gpu_backend.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/event.hpp"
#include "dsaperf/gpu/graph.hpp"
#include "dsaperf/gpu/l2_flush.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/kernels/gemm_gpu.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace dsaperf::op {
namespace {

class GraphRecording final : public Recording {
 public:
  GraphRecording(gpu::Graph graph, CUstream_st* stream)
      : graph_(std::move(graph)), stream_(stream) {}
  Result<void> replay() override { return graph_.launch(stream_); }

 private:
  gpu::Graph graph_;
  CUstream_st* stream_;
};

// Device memory and one stream. Stages allocate nothing: a kernel's workspace grows
// here, before it is first used, and stays.
class GpuBackend final : public Backend {
 public:
  // Without a stream of the caller's, `own` is one.
  GpuBackend(const gpu::Device& device, CUstream_st* stream, std::optional<gpu::Stream> own,
             kernels::GemmLibrary gemms)
      : name_(device.name),
        sm_count_(device.sm_count),
        own_stream_(std::move(own)),
        stream_(own_stream_ ? own_stream_->get() : stream),
        gemms_(std::move(gemms)) {
    count(kernels::GemmLibrary::kWorkspaceBytes);
  }

  std::string device_name() const override { return name_; }

  // Scores: Hopper's fp8 tensor cores align the 32 products of a step and the sum so far to the
  // largest of them and drop what lies 13 bits below. Each of 33 terms loses up to 2^-13 of the
  // largest, on either side: in root mean square sqrt(33 / 3) of it a step, twice that after four.
  // The largest of 32 products of normal values is some 5 of their root mean square, a head's sum
  // sqrt(128) of it: 6.6 * 5 / 11.3 = 3 of 2^-13, and heads of either sign keep that ratio. 8 is
  // allowed, room for values with heavier tails (measured on an H200: 1.6); the largest of a
  // million errors is 5 to 6 times their root mean square.
  //
  // Attention: weights are rounded to bf16 before they multiply values, which is as large an error
  // of the result as its own rounding, 2^-8 / sqrt(3) / 1.44 = 0.8 * 2^-9, and independent of it.
  // Where it decides how the result rounds, the result and the reference differ by three such
  // errors at most: sqrt(3) * 0.8 * 2^-9 = 1.4 * 2^-9 (measured on an H200: 1.2).
  Arithmetic arithmetic() const override {
    return {.scores_rms = 8 * 0x1p-13,
            .scores_largest = 10 * 5 * 0x1p-13,
            .attention_rms = 1.5 * 0x1p-9};
  }

  Result<Buffer> allocate(std::size_t bytes) override {
    void* data = nullptr;
    DSAPERF_CUDA_TRY(cudaMalloc(&data, std::max<std::size_t>(bytes, 1)));
    Buffer buffer = counted(data, bytes, [](void* owned) { cudaFree(owned); });
    DSAPERF_CUDA_TRY(cudaMemsetAsync(data, 0, bytes, stream_));
    return buffer;
  }
  Result<void> upload(const void* host, std::size_t bytes, void* target) override {
    if (bytes == 0) return {};
    DSAPERF_CUDA_TRY(cudaMemcpyAsync(target, host, bytes, cudaMemcpyHostToDevice, stream_));
    return synchronise();  // the caller may reuse `host`
  }
  Result<void> download(const void* source, std::size_t bytes, void* host) override {
    if (bytes == 0) return synchronise();
    DSAPERF_CUDA_TRY(cudaMemcpyAsync(host, source, bytes, cudaMemcpyDeviceToHost, stream_));
    return synchronise();
  }
  Result<void> copy_rows(const void* source, std::int64_t source_stride, void* target,
                         std::int64_t target_stride, std::int64_t row_bytes,
                         std::int64_t rows) override {
    if (row_bytes == 0 || rows == 0) return {};
    DSAPERF_CUDA_TRY(cudaMemcpy2DAsync(target, target_stride, source, source_stride, row_bytes,
                                       rows, cudaMemcpyDeviceToDevice, stream_));
    return {};
  }
  Result<void> fill_caches(std::int64_t bytes) override {
    if (bytes <= 0) return {};
    if (!flush_) {
      DSAPERF_TRY_ASSIGN(auto flush, gpu::L2Flush::create());
      flush_ = std::move(flush);
      count(gpu::L2Flush::kBytes);
    }
    return flush_->run(stream_, static_cast<std::size_t>(bytes));
  }
  Result<void> synchronise() override {
    DSAPERF_CUDA_TRY(cudaStreamSynchronize(stream_));
    return {};
  }

  Result<void> stamp(std::size_t number) override {
    while (stamps_.size() <= number) {
      DSAPERF_TRY_ASSIGN(auto event, gpu::Event::create());
      stamps_.push_back(std::move(event));
    }
    const gpu::Event& event = stamps_[number];
    return recording_ ? event.record_in_graph(stream_) : event.record(stream_);
  }
  Result<double> between_us(std::size_t from, std::size_t to) override {
    if (std::max(from, to) >= stamps_.size())
      return fail(Errc::kInvalidArgument, "stamp {} was never made", std::max(from, to));
    DSAPERF_TRY(stamps_[to].synchronize());
    DSAPERF_TRY_ASSIGN(const Micros taken, gpu::elapsed(stamps_[from], stamps_[to]));
    return taken.value;
  }
  Result<std::unique_ptr<Recording>> record(std::function<Result<void>()> work) override {
    recording_ = true;
    auto graph = gpu::Graph::capture(stream_, work);
    recording_ = false;
    if (!graph) return tl::unexpected(std::move(graph).error());
    return std::make_unique<GraphRecording>(*std::move(graph), stream_);
  }

  Result<void> gemm(const kernels::GemmParams& params) override {
    return gemms_.gemm(params, stream_);
  }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& params) override {
    return kernels::fp8_gemm(params, stream_);
  }
  Result<void> quantise_groups(const kernels::QuantiseGroupsParams& params) override {
    return kernels::quantise_groups(params, stream_);
  }
  Result<void> rms_norm(const kernels::RmsNormParams& params) override {
    return kernels::rms_norm(params, stream_);
  }
  Result<void> layer_norm(const kernels::LayerNormParams& params) override {
    return kernels::layer_norm(params, stream_);
  }
  Result<void> rope(const kernels::RopeParams& params) override {
    return kernels::rope(params, stream_);
  }
  Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& params) override {
    return kernels::indexer_quantise(params, stream_);
  }
  Result<void> norm_rope(const kernels::NormRopeParams& params) override {
    return kernels::norm_rope(params, stream_);
  }
  Result<void> indexer_norm_rope(const kernels::IndexerNormRopeParams& params) override {
    return kernels::indexer_norm_rope(params, stream_);
  }
  Result<void> index_key_write(const kernels::IndexKeyWriteParams& params) override {
    return kernels::index_key_write(params, stream_);
  }
  Result<void> indexer_quantise_both(const kernels::IndexerQuantiseParams& queries,
                                     const kernels::IndexerQuantiseParams& keys) override {
    return kernels::indexer_quantise_both(queries, keys, stream_);
  }
  Result<void> kv_cache_write(const kernels::KvCacheWriteParams& params) override {
    return kernels::kv_cache_write(params, stream_);
  }
  Result<void> index_key_cache_write(const kernels::IndexKeyCacheWriteParams& params) override {
    return kernels::index_key_cache_write(params, stream_);
  }
  Result<void> gather_index_keys(const kernels::GatherIndexKeysParams& params) override {
    return kernels::gather_index_keys(params, stream_);
  }
  Result<void> indexer_scores(const kernels::IndexerScoresParams& params) override {
    return kernels::indexer_scores(params, stream_);
  }
  Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& params) override {
    DSAPERF_TRY_ASSIGN(const auto bytes,
                       kernels::paged_indexer_scores_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::paged_indexer_scores(params, workspace_.data(), workspace_.size(), stream_);
  }
  Result<void> topk(const kernels::TopkParams& params) override {
    DSAPERF_TRY_ASSIGN(const auto bytes, kernels::topk_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::topk(params, workspace_.data(), workspace_.size(), stream_);
  }
  Result<void> selection_rows(const kernels::SelectionRowsParams& params) override {
    return kernels::selection_rows(params, stream_);
  }
  Result<void> rows_to_bf16(const kernels::RowsToBf16Params& params) override {
    return kernels::rows_to_bf16(params, stream_);
  }
  // Measured on an H200 (docs/kernels/sparse_mla.md): a block of 64 entries takes 5080 clocks of an
  // SM over fp8 rows, 3275 over bf16 (64 heads; up to 32 heads 2100 ... 2700), so that an entry
  // gains 0.12 ns at least; a row moves 1808 bytes, 0.45 ns at 4 TB/s: 4 entries pay for it, and
  // 20,000 for a launch. Half as much again is asked for.
  bool attends_faster_to_bf16(std::int64_t tokens, std::int64_t entries,
                              std::int64_t rows) const override {
    return runs_as_prefill(tokens) && entries >= 6 * rows + 30'000;
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& params) override {
    if (runs_as_prefill(params.tokens)) return kernels::sparse_mla_prefill(params, stream_);
    DSAPERF_TRY_ASSIGN(const auto bytes, kernels::sparse_mla_decode_workspace(params, sm_count_));
    DSAPERF_TRY(reserve(bytes));
    return kernels::sparse_mla_decode(params, workspace_.data(), workspace_.size(), stream_);
  }

 private:
  // Few tokens leave SMs idle unless their lists are split.
  bool runs_as_prefill(std::int64_t tokens) const { return tokens > sm_count_; }

  Result<void> reserve(std::size_t bytes) {
    if (bytes <= workspace_.size()) return {};
    DSAPERF_TRY_ASSIGN(workspace_, gpu::DeviceArray<unsigned char>::uninitialized(bytes));
    count(bytes);
    return {};
  }

  std::string name_;
  int sm_count_;
  std::optional<gpu::Stream> own_stream_;
  CUstream_st* stream_;
  kernels::GemmLibrary gemms_;
  gpu::DeviceArray<unsigned char> workspace_;
  std::optional<gpu::L2Flush> flush_;
  std::vector<gpu::Event> stamps_;
  bool recording_ = false;
};

}  // namespace

Result<std::unique_ptr<Backend>> gpu_backend(CUstream_st* stream) {
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
  std::optional<gpu::Stream> own;
  if (stream == nullptr) {
    DSAPERF_TRY_ASSIGN(own, gpu::Stream::create());
  }
  DSAPERF_TRY_ASSIGN(auto gemms, kernels::GemmLibrary::create());
  return std::make_unique<GpuBackend>(device, stream, std::move(own), std::move(gemms));
}

}  // namespace dsaperf::op
