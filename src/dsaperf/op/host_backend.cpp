#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/backend.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace dsaperf::op {
namespace {

// The host has nothing to launch faster: a replay does the work again.
class Repetition final : public Recording {
 public:
  explicit Repetition(std::function<Result<void>()> work) : work_(std::move(work)) {}
  Result<void> replay() override { return work_(); }

 private:
  std::function<Result<void>()> work_;
};

// Host memory; every stage by its double reference.
class ReferenceBackend : public Backend {
 public:
  explicit ReferenceBackend(int threads) : threads_(threads) {}

  std::string device_name() const override {
    return fmt::format("{} thread{}", threads_, threads_ == 1 ? "" : "s");
  }
  Result<Buffer> allocate(std::size_t bytes) override {
    // calloc: large caches are not touched before they are used.
    void* data = std::calloc(bytes == 0 ? 1 : bytes, 1);
    if (data == nullptr) return fail(Errc::kOutOfMemory, "no host memory for {} bytes", bytes);
    return counted(data, bytes, std::free);
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
  Result<void> fill_caches(std::int64_t bytes) override {
    constexpr std::int64_t kMost = std::int64_t{256} << 20;  // beyond last-level caches of servers
    flush_.resize(kMost);
    kernels::cpu::parallel_ranges(std::clamp<std::int64_t>(bytes, 0, kMost), 1 << 20, threads_,
                                  [&](std::int64_t begin, std::int64_t end) {
                                    for (std::int64_t i = begin; i < end; i += 64) ++flush_[i];
                                  });
    return {};
  }
  Result<void> synchronise() override { return {}; }
  Result<void> stamp(std::size_t number) override {
    if (stamps_.size() <= number) stamps_.resize(number + 1);
    stamps_[number] = std::chrono::steady_clock::now();
    return {};
  }
  Result<double> between_us(std::size_t from, std::size_t to) override {
    if (std::max(from, to) >= stamps_.size())
      return fail(Errc::kInvalidArgument, "stamp {} was never made", std::max(from, to));
    return std::chrono::duration<double, std::micro>(stamps_[to] - stamps_[from]).count();
  }
  Result<std::unique_ptr<Recording>> record(std::function<Result<void>()> work) override {
    return std::make_unique<Repetition>(std::move(work));
  }

  // Columns of the weights in blocks of 128, so that fp8 blocks stay whole.
  Result<void> gemm(const kernels::GemmParams& p) override {
    DSAPERF_TRY(gemm_check(p));
    return in_parallel(p.n, kernels::kQuantGroup, [&](std::int64_t begin, std::int64_t end) {
      kernels::GemmParams part = p;
      part.n = end - begin;
      part.w = static_cast<const std::uint16_t*>(p.w) +
               begin * (p.w_layout == kernels::WeightLayout::kOutIn ? p.w_stride : 1);
      part.y = static_cast<char*>(p.y) + begin * (p.output == kernels::GemmOutput::kBf16 ? 2 : 4);
      return gemm_reference(part);
    });
  }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& p) override {
    DSAPERF_TRY(fp8_gemm_check(p));
    return in_parallel(p.n, kernels::kQuantGroup, [&](std::int64_t begin, std::int64_t end) {
      kernels::Fp8GemmParams part = p;
      part.n = end - begin;
      part.w = p.w + begin * p.w_stride;
      part.w_scales = p.w_scales + begin / kernels::kQuantGroup * p.w_scales_stride;
      part.y = static_cast<std::uint16_t*>(p.y) + begin;
      return fp8_gemm_reference(part);
    });
  }
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
  Result<void> rows_to_bf16(const kernels::RowsToBf16Params& p) override {
    return rows_to_bf16_reference(p);
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& p) override {
    DSAPERF_TRY(sparse_mla_check(p));
    return in_parallel(p.tokens, 1, [&](std::int64_t begin, std::int64_t end) {
      kernels::SparseMlaParams part = p;
      part.tokens = end - begin;
      part.q = static_cast<const std::uint16_t*>(p.q) + begin * p.q_token_stride;
      part.indices = p.indices + begin * p.indices_stride;
      if (p.topk_length != nullptr) part.topk_length = p.topk_length + begin;
      part.out = static_cast<std::uint16_t*>(p.out) + begin * p.out_token_stride;
      if (p.lse != nullptr) part.lse = p.lse + begin * p.lse_stride;
      return sparse_mla_reference(part);
    });
  }

 protected:
  int threads() const { return threads_; }

 private:
  // work(begin, end) over ranges of `grain`; the first error of any.
  template <typename Work>
  Result<void> in_parallel(std::int64_t count, std::int64_t grain, const Work& work) {
    std::vector<Result<void>> results(ceil_div(count, grain));
    kernels::cpu::parallel_ranges(
        count, grain, threads_,
        [&](std::int64_t begin, std::int64_t end) { results[begin / grain] = work(begin, end); });
    for (auto& result : results) DSAPERF_TRY(std::move(result));
    return {};
  }

  int threads_;
  std::vector<std::chrono::steady_clock::time_point> stamps_;
  std::vector<char> flush_;
};

// The same memory; the stages that take time in f32 on several threads. Norms, index keys and
// gathers are a thousandth of the work and stay with the reference.
class CpuBackend final : public ReferenceBackend {
 public:
  explicit CpuBackend(int threads) : ReferenceBackend(threads) {}

  Result<void> gemm(const kernels::GemmParams& p) override {
    return kernels::cpu::gemm(p, threads());
  }
  Result<void> fp8_gemm(const kernels::Fp8GemmParams& p) override {
    return kernels::cpu::fp8_gemm(p, threads());
  }
  Result<void> rope(const kernels::RopeParams& p) override {
    return kernels::cpu::rope(p, threads());
  }
  Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& p) override {
    return kernels::cpu::indexer_quantise(p, threads());
  }
  Result<void> kv_cache_write(const kernels::KvCacheWriteParams& p) override {
    return kernels::cpu::kv_cache_write(p, threads());
  }
  Result<void> indexer_scores(const kernels::IndexerScoresParams& p) override {
    return kernels::cpu::indexer_scores(p, threads());
  }
  Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& p) override {
    return kernels::cpu::paged_indexer_scores(p, threads());
  }
  Result<void> topk(const kernels::TopkParams& p) override {
    return kernels::cpu::topk(p, threads());
  }
  Result<void> sparse_mla(const kernels::SparseMlaParams& p) override {
    return kernels::cpu::sparse_mla(p, threads());
  }
};

}  // namespace

// The CPU's kernel brings rows that several tokens read to f32 itself.
bool Backend::attends_faster_to_bf16(std::int64_t /*tokens*/, std::int64_t /*entries*/,
                                     std::int64_t /*rows*/) const {
  return false;
}

Result<void> Backend::norm_rope(const kernels::NormRopeParams& params) {
  DSAPERF_TRY(norm_rope_check(params));
  DSAPERF_TRY(rms_norm(params.query));
  if (params.quantised.values != nullptr) DSAPERF_TRY(quantise_groups(params.quantised));
  DSAPERF_TRY(rms_norm(params.latent));
  return rope(params.key);
}

Result<void> Backend::indexer_norm_rope(const kernels::IndexerNormRopeParams& params) {
  DSAPERF_TRY(indexer_norm_rope_check(params));
  DSAPERF_TRY(rope(params.query));
  DSAPERF_TRY(layer_norm(params.key_norm));
  return rope(params.key);
}

Result<void> Backend::index_key_write(const kernels::IndexKeyWriteParams& params) {
  DSAPERF_TRY(index_key_write_check(params));
  DSAPERF_TRY(layer_norm(params.norm));
  DSAPERF_TRY(rope(params.rope));
  DSAPERF_TRY(indexer_quantise(params.quantised));
  return index_key_cache_write(params.write);
}

Result<void> Backend::indexer_quantise_both(const kernels::IndexerQuantiseParams& queries,
                                            const kernels::IndexerQuantiseParams& keys) {
  DSAPERF_TRY(indexer_quantise(queries));
  return indexer_quantise(keys);
}

std::unique_ptr<Backend> reference_backend(int threads) {
  return std::make_unique<ReferenceBackend>(threads);
}

std::unique_ptr<Backend> cpu_backend(int threads) {
  return std::make_unique<CpuBackend>(threads > 0 ? threads : kernels::cpu::available_threads());
}

}  // namespace dsaperf::op
