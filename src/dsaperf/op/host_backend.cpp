#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/op/backend.hpp"

#include <cstdlib>
#include <cstring>

namespace dsaperf::op {
namespace {

// Host memory; every stage by its double reference.
class ReferenceBackend : public Backend {
 public:
  Result<Buffer> allocate(std::size_t bytes) override {
    // calloc: large caches are not touched before they are used.
    void* data = std::calloc(bytes == 0 ? 1 : bytes, 1);
    if (data == nullptr) return fail(Errc::kOutOfMemory, "no host memory for {} bytes", bytes);
    return Buffer(data, bytes, std::free);
  }
  Result<void> upload(const void* host, std::size_t bytes, void* target) override {
    if (bytes != 0) std::memcpy(target, host, bytes);
    return {};
  }
  Result<void> download(const void* source, std::size_t bytes, void* host) override {
    if (bytes != 0) std::memcpy(host, source, bytes);
    return {};
  }
  Result<void> copy_rows(const void* source, std::int64_t source_stride, void* target,
                         std::int64_t target_stride, std::int64_t row_bytes,
                         std::int64_t rows) override {
    for (std::int64_t r = 0; r < rows; ++r)
      std::memcpy(static_cast<char*>(target) + r * target_stride,
                  static_cast<const char*>(source) + r * source_stride, row_bytes);
    return {};
  }
  Result<void> synchronise() override { return {}; }

  Result<void> gemm(const kernels::GemmParams& p) override { return gemm_reference(p); }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& p) override { return fp8_gemm_reference(p); }
  Result<void> quantise_groups(const kernels::QuantiseGroupsParams& p) override {
    return quantise_groups_reference(p);
  }
  Result<void> rms_norm(const kernels::RmsNormParams& p) override { return rms_norm_reference(p); }
  Result<void> layer_norm(const kernels::LayerNormParams& p) override {
    return layer_norm_reference(p);
  }
  Result<void> rope(const kernels::RopeParams& p) override { return rope_reference(p); }
  Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& p) override {
    return indexer_quantise_reference(p);
  }
  Result<void> kv_cache_write(const kernels::KvCacheWriteParams& p) override {
    return kv_cache_write_reference(p);
  }
  Result<void> index_key_cache_write(const kernels::IndexKeyCacheWriteParams& p) override {
    return index_key_cache_write_reference(p);
  }
  Result<void> gather_index_keys(const kernels::GatherIndexKeysParams& p) override {
    return gather_index_keys_reference(p);
  }
  Result<void> indexer_scores(const kernels::IndexerScoresParams& p) override {
    return indexer_scores_reference(p);
  }
  Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& p) override {
    return paged_indexer_scores_reference(p);
  }
  Result<void> topk(const kernels::TopkParams& p) override { return topk_reference(p); }
  Result<void> selection_rows(const kernels::SelectionRowsParams& p) override {
    return selection_rows_reference(p);
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& p) override {
    return sparse_mla_reference(p);
  }
};

// The same memory; the stages that take time in f32 on several threads. Norms, cache writes and
// gathers are a thousandth of the work and stay with the reference.
class CpuBackend final : public ReferenceBackend {
 public:
  explicit CpuBackend(int threads) : threads_(threads) {}

  Result<void> gemm(const kernels::GemmParams& p) override {
    return kernels::cpu::gemm(p, threads_);
  }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& p) override {
    return kernels::cpu::fp8_gemm(p, threads_);
  }
  Result<void> rope(const kernels::RopeParams& p) override {
    return kernels::cpu::rope(p, threads_);
  }
  Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& p) override {
    return kernels::cpu::indexer_quantise(p, threads_);
  }
  Result<void> indexer_scores(const kernels::IndexerScoresParams& p) override {
    return kernels::cpu::indexer_scores(p, threads_);
  }
  Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& p) override {
    return kernels::cpu::paged_indexer_scores(p, threads_);
  }
  Result<void> topk(const kernels::TopkParams& p) override {
    return kernels::cpu::topk(p, threads_);
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& p) override {
    return kernels::cpu::sparse_mla(p, threads_);
  }

 private:
  int threads_;
};

}  // namespace

std::unique_ptr<Backend> reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

std::unique_ptr<Backend> cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads > 0 ? threads : kernels::cpu::available_threads());
}

}  // namespace dsaperf::op
