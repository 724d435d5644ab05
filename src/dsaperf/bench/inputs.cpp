#include "dsaperf/bench/inputs.hpp"

#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/indexer_select.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/topk.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace dsaperf::bench {
namespace {

using gpu::DeviceArray;
using kernels::TunedKernel;
using kernels::TunedShape;
using kernels::Variant;

constexpr unsigned char kPoison = 0xcd;
constexpr std::size_t kComparedBytes = std::size_t{4} << 20;  // at each end of an output
constexpr std::int64_t kTopk = 2048;

template <typename T>
using Array = DeviceArray<T>;

// Device memory filled with copies of a pattern.
template <typename T>
Result<Array<T>> repeated(const std::vector<T>& pattern, std::size_t size) {
  DSAPERF_TRY_ASSIGN(auto array, Array<T>::uninitialized(size));
  std::size_t filled = std::min(pattern.size(), size);
  DSAPERF_TRY(array.assign(std::span<const T>(pattern).first(filled)));
  while (filled < size) {  // doubles what is there
    const std::size_t more = std::min(filled, size - filled);
    DSAPERF_CUDA_TRY(cudaMemcpy(array.data() + filled, array.data(), more * sizeof(T),
                                cudaMemcpyDeviceToDevice));
    filled += more;
  }
  return array;
}

// Drawn once: more values would tell nothing more, and drawing takes longer than measuring.
constexpr std::size_t kDrawn = 1048573;  // prime: rows at a distance of 2^n differ

const std::vector<float>& normal_floats() {
  static const std::vector<float> kValues = [] {
    std::vector<float> drawn(kDrawn);
    std::minstd_rand engine(5);
    std::normal_distribution<float> normal;
    for (auto& value : drawn) value = normal(engine);
    return drawn;
  }();
  return kValues;
}

// Seven in a hundred are above zero: fewer than topk in rows up to 30000, so zeros decide there.
const std::vector<float>& mostly_zero_floats() {
  static const std::vector<float> kValues = [] {
    std::vector<float> cut(kDrawn);
    std::ranges::transform(normal_floats(), cut.begin(),
                           [](float x) { return std::max(x - 1.5F, 0.0F); });
    return cut;
  }();
  return kValues;
}

const std::vector<std::uint8_t>& normal_e4m3() {
  static const std::vector<std::uint8_t> kBytes = [] {
    std::vector<std::uint8_t> converted(kDrawn);
    std::ranges::transform(normal_floats(), converted.begin(),
                           [](float x) { return kernels::e4m3_from(x); });
    return converted;
  }();
  return kBytes;
}

const std::vector<std::uint16_t>& normal_bf16() {
  static const std::vector<std::uint16_t> kValues = [] {
    std::vector<std::uint16_t> converted(kDrawn);
    std::ranges::transform(normal_floats(), converted.begin(),
                           [](float x) { return kernels::bf16_from(x / 8); });
    return converted;
  }();
  return kValues;
}

Result<std::vector<std::uint8_t>> ends_of(const void* data, std::size_t bytes) {
  const std::size_t first = std::min(bytes, kComparedBytes);
  const std::size_t last = std::min(bytes - first, kComparedBytes);
  std::vector<std::uint8_t> host(first + last);
  DSAPERF_CUDA_TRY(cudaDeviceSynchronize());
  DSAPERF_CUDA_TRY(cudaMemcpy(host.data(), data, first, cudaMemcpyDeviceToHost));
  DSAPERF_CUDA_TRY(cudaMemcpy(host.data() + first,
                              static_cast<const std::uint8_t*>(data) + bytes - last, last,
                              cudaMemcpyDeviceToHost));
  return host;
}

// Of a kernel with one result, poisoned before it runs and compared by its ends.
template <typename Element, typename Base = Inputs>
class OneResult : public Base {
 public:
  Result<void> prepare(Variant /*variant*/) override {
    DSAPERF_CUDA_TRY(cudaMemset(out.data(), kPoison, out.size_bytes()));
    return {};
  }
  Result<std::vector<std::uint8_t>> output() const override {
    return ends_of(out.data(), out.size_bytes());
  }

 protected:
  Array<Element> out;
};

class AttentionInputs final : public OneResult<std::uint16_t> {
 public:
  static Result<std::unique_ptr<Inputs>> make(const TunedShape& shape) {
    auto inputs = std::make_unique<AttentionInputs>();
    const int heads = shape.heads;
    const std::int64_t entries = shape.columns;  // of a list
    // Decode: a cache of its own for each of up to 32 requests, so that no row is met twice soon.
    const std::int64_t rows_of_request = 8192;
    const std::int64_t rows = shape.kernel == TunedKernel::kSparseDecode
                                  ? rows_of_request * std::min<std::int64_t>(shape.rows, 32)
                                  : 32768;
    const int row_bytes = shape.fp8 ? kernels::kKvRowBytesFp8 : kernels::kKvRowBytesBf16;
    constexpr std::int64_t kPatternRows = 1021;
    std::vector<std::uint8_t> pattern(kPatternRows * row_bytes);
    const std::vector<float> scales(kernels::kKvFp8Scales, 0.125F);
    for (std::int64_t r = 0; r < kPatternRows; ++r) {
      std::uint8_t* row = &pattern[r * row_bytes];
      const std::uint16_t* source = &normal_bf16()[r * kernels::kKeyDim];
      if (!shape.fp8) {
        std::memcpy(row, source, kernels::kKvRowBytesBf16);
        continue;
      }
      std::memcpy(row, &normal_e4m3()[r * kernels::kLatentDim], kernels::kLatentDim);
      std::memcpy(row + kernels::kKvFp8ScaleOffset, scales.data(), 4 * scales.size());
      std::memcpy(row + kernels::kKvFp8RopeOffset, source, 2 * kernels::kRopeDim);
    }
    // Lists: a random order of a request's rows, another start for each token.
    const std::int64_t span = std::min(rows, rows_of_request);
    std::vector<std::int32_t> order(span);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::minstd_rand(7));
    std::vector<std::int32_t> lists(shape.rows * entries);
    for (std::int64_t t = 0; t < shape.rows; ++t) {
      const std::int64_t base = shape.kernel == TunedKernel::kSparseDecode
                                    ? t % std::min<std::int64_t>(shape.rows, 32) * span
                                    : t * 97 % (rows - span + 1);
      for (std::int64_t i = 0; i < entries; ++i)
        lists[t * entries + i] = static_cast<std::int32_t>(base + order[(t * 613 + i) % span]);
    }
    DSAPERF_TRY_ASSIGN(inputs->kv_, repeated(pattern, rows * row_bytes));
    DSAPERF_TRY_ASSIGN(inputs->q_, repeated(normal_bf16(), shape.rows * heads * kernels::kKeyDim));
    DSAPERF_TRY_ASSIGN(inputs->lists_, Array<std::int32_t>::copy_of(lists));
    DSAPERF_TRY_ASSIGN(
        inputs->out, Array<std::uint16_t>::uninitialized(shape.rows * heads * kernels::kLatentDim));
    inputs->params_ = {
        .q = inputs->q_.data(),
        .kv = {.data = inputs->kv_.data(),
               .format = shape.fp8 ? kernels::KvRows::Format::kFp8 : kernels::KvRows::Format::kBf16,
               .rows = rows,
               .row_stride_bytes = row_bytes},
        .indices = inputs->lists_.data(),
        .out = inputs->out.data(),
        .tokens = shape.rows,
        .heads = heads,
        .topk = static_cast<int>(entries),
        .q_token_stride = std::int64_t{heads} * kernels::kKeyDim,
        .q_head_stride = kernels::kKeyDim,
        .indices_stride = entries,
        .out_token_stride = std::int64_t{heads} * kernels::kLatentDim,
        .out_head_stride = kernels::kLatentDim,
        .lse_stride = heads,
        .scale = 1.0F / 24};
    return inputs;
  }

  Result<void> prepare(Variant variant) override {
    DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
    const std::size_t bytes = kernels::sparse_mla_variant_workspace(params_, variant, sm_count);
    if (bytes > workspace_.size()) {
      DSAPERF_TRY_ASSIGN(workspace_, Array<std::uint8_t>::uninitialized(bytes));
    }
    return OneResult::prepare(variant);
  }
  Result<void> run(Variant variant, CUstream_st* stream) override {
    return kernels::sparse_mla_variant(params_, variant, workspace_.data(), workspace_.size(),
                                       stream);
  }

 private:
  Array<std::uint8_t> kv_, workspace_;
  Array<std::uint16_t> q_;
  Array<std::int32_t> lists_;
  kernels::SparseMlaParams params_;
};

class ScoresInputs final : public OneResult<float> {
 public:
  static Result<std::unique_ptr<Inputs>> make(const TunedShape& shape) {
    auto inputs = std::make_unique<ScoresInputs>();
    const auto& bytes = normal_e4m3();
    DSAPERF_TRY_ASSIGN(inputs->q_, repeated(bytes, shape.rows * shape.heads * kernels::kIndexDim));
    DSAPERF_TRY_ASSIGN(inputs->k_, repeated(bytes, shape.columns * kernels::kIndexDim));
    DSAPERF_TRY_ASSIGN(inputs->weights_, repeated(normal_floats(), shape.rows * shape.heads));
    DSAPERF_TRY_ASSIGN(inputs->scales_, repeated(std::vector<float>(1024, 0.75F), shape.columns));
    DSAPERF_TRY_ASSIGN(inputs->start_, Array<std::int32_t>::filled_with_byte(shape.rows, 0));
    const std::vector<std::int32_t> end(shape.rows, static_cast<std::int32_t>(shape.columns));
    DSAPERF_TRY_ASSIGN(inputs->end_, Array<std::int32_t>::copy_of(end));
    DSAPERF_TRY_ASSIGN(inputs->out, Array<float>::uninitialized(shape.rows * shape.columns));
    inputs->params_ = {.q = inputs->q_.data(),
                       .weights = inputs->weights_.data(),
                       .k = inputs->k_.data(),
                       .k_scales = inputs->scales_.data(),
                       .start = inputs->start_.data(),
                       .end = inputs->end_.data(),
                       .scores = inputs->out.data(),
                       .tokens = shape.rows,
                       .keys = shape.columns,
                       .heads = shape.heads,
                       .dim = kernels::kIndexDim,
                       .scores_stride = shape.columns};
    return inputs;
  }

  Result<void> run(Variant variant, CUstream_st* stream) override {
    return kernels::indexer_scores_variant(params_, variant, stream);
  }

 private:
  Array<std::uint8_t> q_, k_;
  Array<float> weights_, scales_;
  Array<std::int32_t> start_, end_;
  kernels::IndexerScoresParams params_;
};

// What the kernels of decode score: pages, queries and lengths.
class PagedInputs : public Inputs {
 protected:
  Result<void> fill(const TunedShape& shape) {
    const std::int64_t rows = shape.rows * shape.q_len;
    const std::int64_t pages_of_request = shape.columns / kernels::kPageTokens;
    const std::int64_t page_count = shape.rows * pages_of_request;
    const auto& bytes = normal_e4m3();
    std::vector<std::uint8_t> pattern(std::size_t{113} * kernels::kIndexPageBytes);
    const std::vector<float> scales(kernels::kPageTokens, 0.75F);
    for (std::size_t at = 0; at < pattern.size(); at += kernels::kIndexPageBytes) {
      std::memcpy(&pattern[at], &bytes[at], kernels::kIndexPageScaleOffset);
      std::memcpy(&pattern[at + kernels::kIndexPageScaleOffset], scales.data(),
                  scales.size() * sizeof(float));
    }
    std::vector<std::int32_t> in_order(page_count);
    std::iota(in_order.begin(), in_order.end(), 0);
    DSAPERF_TRY_ASSIGN(pages, repeated(pattern, page_count * kernels::kIndexPageBytes));
    DSAPERF_TRY_ASSIGN(q, repeated(bytes, rows * shape.heads * kernels::kIndexDim));
    DSAPERF_TRY_ASSIGN(weights, repeated(normal_floats(), rows * shape.heads));
    DSAPERF_TRY_ASSIGN(table, Array<std::int32_t>::copy_of(in_order));
    const std::vector<std::int32_t> same(shape.rows, static_cast<std::int32_t>(shape.columns));
    DSAPERF_TRY_ASSIGN(lengths, Array<std::int32_t>::copy_of(same));
    params = {.q = q.data(),
              .weights = weights.data(),
              .pages = pages.data(),
              .block_table = table.data(),
              .context_length = lengths.data(),
              .batch = shape.rows,
              .q_len = shape.q_len,
              .heads = shape.heads,
              .dim = kernels::kIndexDim,
              .max_context = shape.columns,
              .page_stride_bytes = kernels::kIndexPageBytes,
              .block_table_stride = pages_of_request,
              .scores_stride = shape.columns};
    return {};
  }

  Array<std::uint8_t> q, pages;
  Array<float> weights;
  Array<std::int32_t> table, lengths;
  kernels::PagedIndexerScoresParams params;
};

class PagedScoresInputs final : public OneResult<float, PagedInputs> {
 public:
  static Result<std::unique_ptr<Inputs>> make(const TunedShape& shape) {
    auto inputs = std::make_unique<PagedScoresInputs>();
    DSAPERF_TRY(inputs->fill(shape));
    DSAPERF_TRY_ASSIGN(inputs->out,
                       Array<float>::uninitialized(shape.rows * shape.q_len * shape.columns));
    inputs->params.scores = inputs->out.data();
    return inputs;
  }

  Result<void> run(Variant variant, CUstream_st* stream) override {
    return kernels::paged_indexer_scores_variant(params, variant, stream);
  }
};

class PagedSelectInputs final : public OneResult<std::int32_t, PagedInputs> {
 public:
  static Result<std::unique_ptr<Inputs>> make(const TunedShape& shape) {
    auto inputs = std::make_unique<PagedSelectInputs>();
    DSAPERF_TRY(inputs->fill(shape));
    DSAPERF_TRY_ASSIGN(inputs->out,
                       Array<std::int32_t>::uninitialized(shape.rows * shape.q_len * kTopk));
    inputs->select_ = {.scores = inputs->params,
                       .indices = inputs->out.data(),
                       .topk = static_cast<int>(kTopk),
                       .indices_stride = kTopk};
    return inputs;
  }

  Result<void> prepare(Variant variant) override {
    DSAPERF_TRY_ASSIGN(const std::size_t bytes,
                       kernels::paged_indexer_select_variant_workspace(
                           select_, variant, kernels::kIndexerSelectWorkspace));
    if (bytes > workspace_.size()) {
      DSAPERF_TRY_ASSIGN(workspace_, Array<std::uint8_t>::uninitialized(bytes));
    }
    return OneResult::prepare(variant);
  }
  Result<void> run(Variant variant, CUstream_st* stream) override {
    return kernels::paged_indexer_select_variant(select_, variant, workspace_.data(),
                                                 workspace_.size(), stream);
  }

 private:
  Array<std::uint8_t> workspace_;
  kernels::PagedIndexerSelectParams select_;
};

class TopkInputs final : public OneResult<std::int32_t> {
 public:
  static Result<std::unique_ptr<Inputs>> make(const TunedShape& shape, Values values) {
    auto inputs = std::make_unique<TopkInputs>();
    const auto& drawn = values == Values::kMostlyZero ? mostly_zero_floats() : normal_floats();
    DSAPERF_TRY_ASSIGN(inputs->scores_, repeated(drawn, shape.rows * shape.columns));
    DSAPERF_TRY_ASSIGN(inputs->out, Array<std::int32_t>::uninitialized(shape.rows * kTopk));
    inputs->params_ = {.scores = inputs->scores_.data(),
                       .indices = inputs->out.data(),
                       .rows = shape.rows,
                       .columns = shape.columns,
                       .topk = static_cast<int>(kTopk),
                       .scores_stride = shape.columns,
                       .indices_stride = kTopk};
    return inputs;
  }

  Result<void> run(Variant variant, CUstream_st* stream) override {
    const std::size_t bytes = kernels::topk_variant_workspace(params_, variant);
    if (bytes > workspace_.size()) {
      DSAPERF_TRY_ASSIGN(workspace_, Array<std::uint8_t>::uninitialized(bytes));
    }
    return kernels::topk_variant(params_, variant, workspace_.data(), workspace_.size(), stream);
  }

 private:
  Array<std::uint8_t> workspace_;
  Array<float> scores_;
  kernels::TopkParams params_;
};

}  // namespace

Equality equality_of(TunedKernel kernel) {
  return kernel == TunedKernel::kSparsePrefill || kernel == TunedKernel::kSparseDecode
             ? Equality::kBf16
             : Equality::kBits;
}

Result<std::unique_ptr<Inputs>> make_inputs(const TunedShape& shape, Values values) {
  switch (shape.kernel) {
    case TunedKernel::kSparsePrefill:
    case TunedKernel::kSparseDecode:
      return AttentionInputs::make(shape);
    case TunedKernel::kScores:
      return ScoresInputs::make(shape);
    case TunedKernel::kPagedScores:
      return PagedScoresInputs::make(shape);
    case TunedKernel::kPagedSelect:
      return PagedSelectInputs::make(shape);
    case TunedKernel::kTopk:
      break;
  }
  return TopkInputs::make(shape, values);
}

}  // namespace dsaperf::bench
