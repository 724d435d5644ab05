#include "dsaperf/capi/layer.hpp"

#include "dsaperf/capi/execution.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/op/checkpoint.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/gpu_backend.hpp"
#include "dsaperf/op/layer_choice.hpp"
#include "dsaperf/op/past_tokens.hpp"

#include <algorithm>
#include <memory>
#include <vector>

using namespace dsaperf;  // NOLINT(google-build-using-namespace): the functions below are C's

namespace dsaperf::capi {
namespace {

Result<std::shared_ptr<op::Backend>> make_backend(dsaperf_device device, int threads,
                                                  CUstream_st* stream) {
  if (device == DSAPERF_CPU) return op::cpu_backend(threads);
  if (device == DSAPERF_CPU_REFERENCE) return op::reference_backend(std::max(threads, 1));
  DSAPERF_TRY_ASSIGN(auto gpu, op::gpu_backend(stream));
  return gpu;
}

Result<void> create_layer(const dsaperf_layer_options& options, dsaperf_layer** layer) {
  DSAPERF_TRY(not_null(options.config, "config"));
  DSAPERF_TRY_ASSIGN(const auto device, read_device(options.device, options.threads));
  DSAPERF_TRY_ASSIGN(const auto projections,
                     enumerator<op::Projections>(options.fp8_projections, 2, "fp8_projections"));
  DSAPERF_TRY_ASSIGN(const auto model, model::load_model(options.config));
  DSAPERF_TRY_ASSIGN(const auto spec, op::layer_spec(model, {.layer = options.layer,
                                                             .heads = options.heads,
                                                             .projections = projections}));
  DSAPERF_TRY_ASSIGN(auto backend, make_backend(device, options.threads, options.stream));
  op::LayerWeights weights;
  if (options.weights == nullptr) {
    weights = op::random_weights(spec, options.seed, op::ScoreDistribution::kNormal);
  } else {
    DSAPERF_TRY_ASSIGN(weights, op::read_weights(options.weights, spec));
  }
  DSAPERF_TRY_ASSIGN(auto made, op::DsaLayer::create(*backend, spec, weights));
  op::LayerWeights key_norm;
  key_norm.k_norm = std::move(weights.k_norm);
  key_norm.k_norm_bias = std::move(weights.k_norm_bias);
  *layer = new dsaperf_layer{std::move(backend), std::move(key_norm), std::move(made)};
  return {};
}

Result<void> forward(const dsaperf_layer& layer, dsaperf_cache& cache, const dsaperf_batch& batch) {
  DSAPERF_TRY_ASSIGN(const auto read, read_batch(layer, cache, batch, false));
  if (batch.x_count > 0 && batch.y == nullptr)
    return fail(Errc::kInvalidArgument, "batch: a pointer is null");
  const std::int64_t tokens = read.tokens;
  const op::LayerSpec& spec = layer.layer.spec();
  DSAPERF_TRY_ASSIGN(
      auto pass, layer.layer.prepare(
                     cache.cache, read.requests, {batch.x, static_cast<std::size_t>(batch.x_count)},
                     {batch.selection, static_cast<std::size_t>(batch.selection_count)}));
  DSAPERF_TRY(layer.layer.run(pass, cache.cache));
  DSAPERF_TRY(layer.backend->download(pass.at("y").bf16(), batch.x_count * 2, batch.y));
  if (batch.selection_out == nullptr) return {};
  std::vector<std::int32_t> selection(tokens * pass.selected);
  DSAPERF_TRY(
      layer.backend->download(pass.at("selection").i32(), selection.size() * 4, selection.data()));
  std::fill_n(batch.selection_out, tokens * spec.topk, -1);
  for (std::int64_t t = 0; t < tokens; ++t)
    std::copy_n(selection.begin() + t * pass.selected, pass.selected,
                batch.selection_out + t * spec.topk);
  return {};
}

}  // namespace

Result<BatchTokens> read_batch(const dsaperf_layer& layer, const dsaperf_cache& cache,
                               const dsaperf_batch& batch, bool inputs_later) {
  if (layer.backend != cache.backend)
    return fail(Errc::kInvalidArgument, "the cache was made for another layer");
  DSAPERF_TRY(check_extents("batch", {{batch.count}, {batch.x_count}, {batch.selection_count}}));
  if ((batch.count > 0 && (batch.requests == nullptr || batch.new_tokens == nullptr)) ||
      (batch.x_count > 0 && batch.x == nullptr) ||
      (batch.selection_count > 0 && batch.selection == nullptr))
    return fail(Errc::kInvalidArgument, "batch: a pointer is null");
  BatchTokens read;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    if (batch.new_tokens[i] < 0 || batch.new_tokens[i] > INT32_MAX)
      return fail(Errc::kInvalidArgument, "batch: {} new tokens", batch.new_tokens[i]);
    read.requests.push_back({.request = batch.requests[i], .new_tokens = batch.new_tokens[i]});
    read.tokens += batch.new_tokens[i];
  }
  const std::int64_t hidden = layer.layer.spec().hidden;
  const bool later = inputs_later && batch.x_count == 0 && batch.selection_count == 0;
  if (!later && batch.x_count != read.tokens * hidden)
    return fail(Errc::kInvalidArgument, "batch: x_count {} is not {} tokens of {}", batch.x_count,
                read.tokens, hidden);
  return read;
}

}  // namespace dsaperf::capi

extern "C" {

dsaperf_status dsaperf_layer_create(const dsaperf_layer_options* options, dsaperf_layer** layer,
                                    dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    *layer = nullptr;
    DSAPERF_TRY_ASSIGN(const auto given, capi::read(options, "options"));
    return capi::create_layer(given, layer);
  });
}

void dsaperf_layer_destroy(dsaperf_layer* layer) {
  delete layer;
}

dsaperf_status dsaperf_layer_get_info(const dsaperf_layer* layer, dsaperf_layer_info* info,
                                      dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    const op::LayerSpec& spec = layer->layer.spec();
    return capi::write({.struct_size = 0,
                        .layer = spec.layer,
                        .hidden = spec.hidden,
                        .heads = spec.heads,
                        .q_lora = spec.q_lora,
                        .nope = spec.nope,
                        .v = spec.v,
                        .index_heads = spec.index_heads,
                        .topk = spec.topk,
                        .has_indexer = spec.has_indexer ? 1 : 0},
                       info, "info");
  });
}

dsaperf_status dsaperf_cache_create(const dsaperf_layer* layer,
                                    const dsaperf_cache_options* options, dsaperf_cache** cache,
                                    dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    *cache = nullptr;
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    DSAPERF_TRY_ASSIGN(const auto given, capi::read(options, "options"));
    DSAPERF_TRY_ASSIGN(const auto kv, capi::enumerator<kernels::KvRows::Format>(given.kv, 2, "kv"));
    DSAPERF_TRY_ASSIGN(
        auto made,
        op::CacheManager::create(
            *layer->backend,
            {.pages = given.pages, .kv = kv, .index_keys = layer->layer.spec().has_indexer}));
    *cache = new dsaperf_cache{layer->backend, layer->layer.spec(), std::move(made)};
    return {};
  });
}

void dsaperf_cache_destroy(dsaperf_cache* cache) {
  delete cache;
}

dsaperf_status dsaperf_cache_get_view(const dsaperf_cache* cache, dsaperf_cache_view* view,
                                      dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    const auto rows = cache->cache.kv_rows();
    const bool keys = cache->cache.options().index_keys;
    return capi::write({.struct_size = 0,
                        .kv = const_cast<void*>(rows.data),
                        .index_pages = keys ? cache->cache.index_pages() : nullptr,
                        .pages = cache->cache.pool().pages(),
                        .kv_row_bytes = rows.row_stride_bytes,
                        .index_page_bytes = keys ? kernels::kIndexPageBytes : 0,
                        .free_pages = cache->cache.pool().free_pages()},
                       view, "view");
  });
}

dsaperf_status dsaperf_cache_add_request(dsaperf_cache* cache, int64_t* request,
                                         dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY(capi::not_null(request, "request"));
    *request = cache->cache.add_request();
    return {};
  });
}

dsaperf_status dsaperf_cache_remove_request(dsaperf_cache* cache, int64_t request,
                                            dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    return cache->cache.remove_request(request);
  });
}

dsaperf_status dsaperf_cache_fork(dsaperf_cache* cache, int64_t parent, int64_t tokens,
                                  int64_t* request, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY(capi::not_null(request, "request"));
    DSAPERF_TRY_ASSIGN(*request, cache->cache.fork(parent, tokens));
    return {};
  });
}

dsaperf_status dsaperf_cache_append(dsaperf_cache* cache, int64_t request, int64_t tokens,
                                    int64_t* slots, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    if (tokens > 0) DSAPERF_TRY(capi::not_null(slots, "slots"));
    DSAPERF_TRY_ASSIGN(const auto appended, cache->cache.append(request, tokens));
    std::copy(appended.begin(), appended.end(), slots);
    return {};
  });
}

dsaperf_status dsaperf_cache_length(const dsaperf_cache* cache, int64_t request, int64_t* tokens,
                                    dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY(capi::not_null(tokens, "tokens"));
    DSAPERF_TRY_ASSIGN(*tokens, cache->cache.pool().length(request));
    return {};
  });
}

dsaperf_status dsaperf_cache_block_table(const dsaperf_cache* cache, int64_t request,
                                         int32_t* table, int64_t capacity, int64_t* pages,
                                         dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY(capi::not_null(pages, "pages"));
    if (capacity < 0) return fail(Errc::kInvalidArgument, "capacity {} < 0", capacity);
    if (capacity > 0) DSAPERF_TRY(capi::not_null(table, "table"));
    DSAPERF_TRY_ASSIGN(const auto numbers, cache->cache.pool().block_table(request));
    *pages = static_cast<std::int64_t>(numbers.size());
    std::copy_n(numbers.begin(), std::min(capacity, *pages), table);
    return {};
  });
}

dsaperf_status dsaperf_cache_fill(dsaperf_cache* cache, const dsaperf_layer* layer, int64_t request,
                                  int64_t tokens, uint64_t seed, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    if (layer->backend != cache->backend)
      return fail(Errc::kInvalidArgument, "the cache was made for another layer");
    DSAPERF_TRY_ASSIGN(const auto before, cache->cache.pool().length(request));
    if (before != 0)
      return fail(Errc::kInvalidArgument, "request {} has {} tokens already", request, before);
    if (tokens < 0) return fail(Errc::kInvalidArgument, "tokens {} < 0", tokens);
    return op::fill_past(*cache->backend, cache->cache, cache->spec, layer->key_norm, request,
                         tokens, {.seed = seed, .stream = static_cast<std::uint64_t>(request)});
  });
}

dsaperf_status dsaperf_layer_forward(const dsaperf_layer* layer, dsaperf_cache* cache,
                                     const dsaperf_batch* batch, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY_ASSIGN(const auto given, capi::read(batch, "batch"));
    return capi::forward(*layer, *cache, given);
  });
}

}  // extern "C"
