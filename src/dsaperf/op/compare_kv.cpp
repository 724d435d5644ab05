#include "dsaperf/op/compare_kv.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/cpu/sgemm.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/new_tokens.hpp"
#include "dsaperf/op/past_tokens.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::op {
namespace {

using kernels::bf16_to_float;
using kernels::kIndexDim;

std::vector<float> widened(std::span<const std::uint16_t> bits) {
  std::vector<float> values;
  values.reserve(bits.size());
  for (const auto value : bits) values.push_back(bf16_to_float(value));
  return values;
}

// One distribution's weights and past, and passes over them.
class Comparer {
 public:
  Comparer(Backend& backend, const LayerSpec& spec, const RunOptions& options,
           ScoreDistribution scores)
      : backend_(backend),
        spec_(spec),
        options_(options),
        weights_(random_weights(spec, options.seed, scores)) {
    std::vector<std::int32_t> positions;
    for (std::int64_t i = 0; i < options.batch * options.new_tokens; ++i)
      positions.push_back(static_cast<std::int32_t>(options.past + i % options.new_tokens));
    x_ = random_new_tokens(spec, weights_, options.seed, positions);
  }

  struct Outcome {
    std::vector<float> y = {};
    std::vector<std::int32_t> selection = {};
    std::vector<std::uint16_t> index_query = {};  // with an indexer
    std::vector<std::uint16_t> index_key = {};
    std::vector<float> head_weight = {};
    int selected = 0;
  };

  // One pass over a fresh cache; with a selection, that one is attended to.
  Result<Outcome> run(kernels::KvRows::Format kv, std::span<const std::int32_t> selection = {}) {
    LayerSpec spec = spec_;
    spec.has_indexer = selection.empty();
    DSAPERF_TRY_ASSIGN(const auto layer, DsaLayer::create(backend_, spec, weights_));
    const std::int64_t context = options_.past + options_.new_tokens;
    DSAPERF_TRY_ASSIGN(
        auto cache, CacheManager::create(backend_, {.pages = options_.batch * ((context + 63) / 64),
                                                    .kv = kv,
                                                    .index_keys = spec.has_indexer}));
    std::vector<BatchRequest> requests;
    for (std::int64_t r = 0; r < options_.batch; ++r) {
      requests.push_back({.request = cache.add_request(), .new_tokens = options_.new_tokens});
      DSAPERF_TRY(fill_past(backend_, cache, spec, weights_, requests.back().request, options_.past,
                            source(r)));
    }
    DSAPERF_TRY_ASSIGN(auto pass, layer.prepare(cache, requests, x_, selection));
    DSAPERF_TRY(layer.run(pass, cache));
    Outcome outcome{.selected = pass.selected};
    DSAPERF_TRY_ASSIGN(const auto y, host<std::uint16_t>(pass.at("y")));
    outcome.y = widened(y);
    if (!spec.has_indexer) return outcome;
    DSAPERF_TRY_ASSIGN(outcome.selection, host<std::int32_t>(pass.at("selection")));
    DSAPERF_TRY_ASSIGN(outcome.index_query, host<std::uint16_t>(pass.at("index_query")));
    DSAPERF_TRY_ASSIGN(outcome.index_key, host<std::uint16_t>(pass.at("index_key")));
    DSAPERF_TRY_ASSIGN(outcome.head_weight, host<float>(pass.at("head_weight")));
    return outcome;
  }

  // The selection by scores that were not rounded to e4m3.
  Result<std::vector<std::int32_t>> unrounded_selection(const Outcome& of) {
    std::vector<std::int32_t> selection(of.selection.size(), -1);
    const std::int64_t context = options_.past + options_.new_tokens;
    const int threads = kernels::cpu::available_threads();
    DSAPERF_TRY(kernels::cpu::open_blas());
    for (std::int64_t r = 0; r < options_.batch; ++r) {
      DSAPERF_TRY_ASSIGN(auto key_bits,
                         past_index_keys(spec_, weights_, source(r), 0, options_.past));
      const auto own = of.index_key.begin() + r * options_.new_tokens * kIndexDim;
      key_bits.insert(key_bits.end(), own, own + options_.new_tokens * kIndexDim);
      const auto keys = widened(key_bits);
      std::vector<float> scores(options_.new_tokens * context);
      std::vector<std::int32_t> visible(options_.new_tokens);
      kernels::cpu::parallel_for(options_.new_tokens, threads, [&](std::int64_t i) {
        const std::int64_t t = r * options_.new_tokens + i;
        visible[i] = static_cast<std::int32_t>(options_.past + i + 1);
        const auto query =
            widened(std::span(of.index_query)
                        .subspan(t * spec_.index_heads * kIndexDim, spec_.index_heads * kIndexDim));
        std::vector<float> products(spec_.index_heads * context);
        kernels::cpu::multiply_by_rows(spec_.index_heads, context, kIndexDim, query.data(),
                                       kIndexDim, keys.data(), kIndexDim, products.data(), context);
        for (int h = 0; h < spec_.index_heads; ++h)
          for (std::int64_t p = 0; p < context; ++p)
            scores[i * context + p] += of.head_weight[t * spec_.index_heads + h] *
                                       std::max(products[h * context + p], 0.0F);
      });
      DSAPERF_TRY(kernels::cpu::topk({.scores = scores.data(),
                                      .end = visible.data(),
                                      .indices = &selection[r * options_.new_tokens * of.selected],
                                      .rows = options_.new_tokens,
                                      .columns = context,
                                      .topk = of.selected,
                                      .scores_stride = context,
                                      .indices_stride = of.selected},
                                     threads));
    }
    return selection;
  }

 private:
  PastSource source(std::int64_t request) const {
    return {.seed = options_.seed, .stream = static_cast<std::uint64_t>(request)};
  }

  template <typename T>
  Result<std::vector<T>> host(const Tensor& tensor) {
    std::vector<T> values(tensor.elements());
    DSAPERF_TRY(backend_.download(tensor.buffer.data(), values.size() * sizeof(T), values.data()));
    return values;
  }

  Backend& backend_;
  LayerSpec spec_;
  RunOptions options_;
  LayerWeights weights_;
  std::vector<std::uint16_t> x_;
};

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(double{got[i]} - want[i], 2);
    size += std::pow(double{want[i]}, 2);
  }
  return size > 0 ? std::sqrt(difference / size) : 0;
}

void set_overlap(std::span<const std::int32_t> got, std::span<const std::int32_t> want, int width,
                 KvComparison& result) {
  double sum = 0;
  const std::size_t tokens = want.size() / width;
  for (std::size_t t = 0; t < tokens; ++t) {
    std::vector<std::int32_t> a(got.begin() + t * width, got.begin() + (t + 1) * width);
    std::vector<std::int32_t> b(want.begin() + t * width, want.begin() + (t + 1) * width);
    std::erase(a, -1);
    std::erase(b, -1);
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    std::vector<std::int32_t> both;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    const double overlap = static_cast<double>(both.size()) / static_cast<double>(b.size());
    sum += overlap;
    result.lowest_overlap = std::min(result.lowest_overlap, overlap);
  }
  result.selection_overlap = sum / static_cast<double>(tokens);
}

}  // namespace

Result<std::vector<KvComparison>> compare_kv(Backend& backend, const LayerSpec& spec,
                                             const RunOptions& options,
                                             std::span<const ScoreDistribution> distributions,
                                             std::span<const kernels::KvRows::Format> formats) {
  using Format = kernels::KvRows::Format;
  if (!spec.has_indexer)
    return fail(Errc::kInvalidArgument, "compare: the layer has no indexer of its own");
  if (options.batch < 1 || options.new_tokens < 1 || options.past < 0 ||
      options.past + options.new_tokens <= spec.topk)
    return fail(Errc::kInvalidArgument,
                "compare: {} tokens are not more than topk {}: nothing is selected",
                options.past + options.new_tokens, spec.topk);
  std::vector<KvComparison> comparisons;
  for (const ScoreDistribution scores : distributions) {
    Comparer comparer(backend, spec, options, scores);
    DSAPERF_TRY_ASSIGN(const auto bf16, comparer.run(Format::kBf16));
    DSAPERF_TRY_ASSIGN(const auto ideal_selection, comparer.unrounded_selection(bf16));
    DSAPERF_TRY_ASSIGN(const auto ideal, comparer.run(Format::kBf16, ideal_selection));
    for (const Format kv : formats) {
      KvComparison result{.scores = scores, .kv = kv};
      set_overlap(bf16.selection, ideal_selection, bf16.selected, result);
      result.output_error_of_selection = relative_error(bf16.y, ideal.y);
      if (kv == Format::kBf16) {
        result.output_error = result.output_error_of_selection;
      } else {
        DSAPERF_TRY_ASSIGN(const auto both, comparer.run(kv));
        DSAPERF_TRY_ASSIGN(const auto cache_alone, comparer.run(kv, ideal_selection));
        result.output_error = relative_error(both.y, ideal.y);
        result.output_error_of_cache = relative_error(cache_alone.y, ideal.y);
      }
      comparisons.push_back(result);
    }
  }
  return comparisons;
}

}  // namespace dsaperf::op
