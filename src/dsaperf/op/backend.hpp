#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/topk.hpp"
#include "dsaperf/op/buffer.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace dsaperf::op {

// How far a backend's arithmetic may be from the double reference where that is not the rounding of
// a result to its format: what a check allows (layer_check.cpp derives the rest).
struct Arithmetic {
  // Indexer scores, over the largest of the row. f32: 128 products and a sum over heads, (128 + 64)
  // * 2^-24 of the sum of magnitudes, which for weights of either sign is some ten times the
  // largest score.
  double scores_rms = 1e-4;
  double scores_largest = 10 * 192 * 0x1p-24;
  // Attention: 2^-9 is a result that both sides round to bf16.
  double attention_rms = 0x1p-9;
};

// Work of a backend, recorded once.
class Recording {
 public:
  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  virtual ~Recording() = default;

  // Enqueues all of it; on a GPU as one launch of a CUDA graph.
  virtual Result<void> replay() = 0;
};

// Where a layer runs: memory, and every stage over the same parameter structs. The layer is written
// once over this. Work is ordered as it is called; download() waits for what came before.
class Backend {
 public:
  virtual ~Backend() = default;

  // What runs the work, in words: "2 threads", "NVIDIA H200".
  virtual std::string device_name() const { return {}; }

  // Zeroed. Fails with kOutOfMemory.
  virtual Result<Buffer> allocate(std::size_t bytes) = 0;
  virtual Result<void> upload(const void* host, std::size_t bytes, void* target) = 0;
  virtual Result<void> download(const void* source, std::size_t bytes, void* host) = 0;
  // Rows of bytes within the backend's memory; source and target do not overlap.
  virtual Result<void> copy_rows(const void* source, std::int64_t source_stride, void* target,
                                 std::int64_t target_stride, std::int64_t row_bytes,
                                 std::int64_t rows) = 0;
  // Leaves nothing of the layer's data in the caches of the processor, so that what runs next is
  // cold.
  Result<void> flush_caches() { return fill_caches(INT64_MAX); }
  // Sends as many bytes of other data through the caches (at most what fills them several times):
  // what runs next finds what it would find had something else moved as much.
  virtual Result<void> fill_caches(std::int64_t bytes) = 0;
  // Waits until all work is done.
  virtual Result<void> synchronise() = 0;

  // Notes under a number the time at which the work so far is done, without waiting for it; within
  // a recording, each replay notes it anew. Numbers are small: they index a list.
  virtual Result<void> stamp(std::size_t number) = 0;
  // Microseconds from one stamp to a later one; waits for the later one.
  virtual Result<double> between_us(std::size_t from, std::size_t to) = 0;
  // What `work` enqueues, to be replayed as often as wanted. What it refers to (tensors, the
  // backend) must outlive the recording; values are read at each replay. The work has run once
  // before, so that what is set up at first use is there; it must not allocate, upload or download.
  virtual Result<std::unique_ptr<Recording>> record(std::function<Result<void>()> work) = 0;

  // Of buffers, and of what the backend took for itself.
  const MemoryUse& memory() const { return *memory_; }
  virtual Arithmetic arithmetic() const { return {}; }

  virtual Result<void> gemm(const kernels::GemmParams& params) = 0;
  virtual Result<void> fp8_gemm(const kernels::Fp8GemmParams& params) = 0;
  virtual Result<void> quantise_groups(const kernels::QuantiseGroupsParams& params) = 0;
  virtual Result<void> rms_norm(const kernels::RmsNormParams& params) = 0;
  virtual Result<void> layer_norm(const kernels::LayerNormParams& params) = 0;
  virtual Result<void> rope(const kernels::RopeParams& params) = 0;
  virtual Result<void> indexer_quantise(const kernels::IndexerQuantiseParams& params) = 0;
  virtual Result<void> kv_cache_write(const kernels::KvCacheWriteParams& params) = 0;
  virtual Result<void> index_key_cache_write(const kernels::IndexKeyCacheWriteParams& params) = 0;
  virtual Result<void> gather_index_keys(const kernels::GatherIndexKeysParams& params) = 0;
  virtual Result<void> indexer_scores(const kernels::IndexerScoresParams& params) = 0;
  virtual Result<void> paged_indexer_scores(const kernels::PagedIndexerScoresParams& params) = 0;
  virtual Result<void> topk(const kernels::TopkParams& params) = 0;
  virtual Result<void> selection_rows(const kernels::SelectionRowsParams& params) = 0;
  virtual Result<void> rows_to_bf16(const kernels::RowsToBf16Params& params) = 0;
  virtual Result<void> sparse_mla(const kernels::SparseMlaParams& params) = 0;
  // Whether sparse_mla over fp8 rows, of lists of so many entries together, takes longer than
  // rows_to_bf16 of all rows that they may name and sparse_mla over those.
  virtual bool attends_faster_to_bf16(std::int64_t tokens, std::int64_t entries,
                                      std::int64_t rows) const;

  // Several of the above in one call, which a GPU makes one launch of.
  virtual Result<void> norm_rope(const kernels::NormRopeParams& params);
  virtual Result<void> indexer_norm_rope(const kernels::IndexerNormRopeParams& params);
  virtual Result<void> index_key_write(const kernels::IndexKeyWriteParams& params);
  virtual Result<void> indexer_quantise_both(const kernels::IndexerQuantiseParams& queries,
                                             const kernels::IndexerQuantiseParams& keys);

 protected:
  // A buffer that counts in memory() until it is released.
  Buffer counted(void* data, std::size_t bytes, void (*release)(void*)) {
    memory_->add(bytes);
    return Buffer(data, bytes, [release, bytes, memory = memory_](void* owned) {
      release(owned);
      memory->bytes -= static_cast<std::int64_t>(bytes);
    });
  }
  void count(std::size_t bytes) { memory_->add(bytes); }

 private:
  std::shared_ptr<MemoryUse> memory_ = std::make_shared<MemoryUse>();
};

// Double precision, loops: for tests, small shapes and checks. Independent rows and columns may run
// on several threads; the result does not depend on them.
std::unique_ptr<Backend> reference_backend(int threads = 1);

// f32 on `threads` cores of the host; 0 = all that the process may use.
std::unique_ptr<Backend> cpu_backend(int threads);

}  // namespace dsaperf::op
