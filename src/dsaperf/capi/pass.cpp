#include "dsaperf/capi/layer.hpp"

#include <cstddef>
#include <memory>
#include <span>

using namespace dsaperf;  // NOLINT(google-build-using-namespace): the functions below are C's

struct dsaperf_pass {
  std::shared_ptr<op::Backend> backend;  // outlives the tensors
  const op::DsaLayer* layer;
  op::CacheManager* cache;
  op::ForwardPass pass;
};

namespace dsaperf::capi {
namespace {

template <typename T>
std::span<const T> values(const T* first, std::int64_t count) {
  return {first, static_cast<std::size_t>(count)};
}

Result<void> create_pass(const dsaperf_layer& layer, dsaperf_cache& cache,
                         const dsaperf_batch& batch, const dsaperf_pass_options& options,
                         dsaperf_pass** pass) {
  if (options.longest < 0 || options.longest > INT32_MAX)
    return fail(Errc::kInvalidArgument, "longest {} is not 0 ... {}", options.longest, INT32_MAX);
  if (options.score_bytes < 0)
    return fail(Errc::kInvalidArgument, "score_bytes {} < 0", options.score_bytes);
  DSAPERF_TRY_ASSIGN(const auto read, read_batch(layer, cache, batch, true));
  op::PassOptions plan{.longest = options.longest,
                       .inputs_later = batch.x_count == 0 && batch.selection_count == 0};
  if (options.score_bytes > 0) plan.score_bytes = options.score_bytes;
  DSAPERF_TRY_ASSIGN(auto prepared,
                     layer.layer.prepare(cache.cache, read.requests, values(batch.x, batch.x_count),
                                         values(batch.selection, batch.selection_count), plan));
  *pass = new dsaperf_pass{layer.backend, &layer.layer, &cache.cache, std::move(prepared)};
  return {};
}

}  // namespace
}  // namespace dsaperf::capi

extern "C" {

dsaperf_status dsaperf_pass_create(const dsaperf_layer* layer, dsaperf_cache* cache,
                                   const dsaperf_batch* batch, const dsaperf_pass_options* options,
                                   dsaperf_pass** pass, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(pass, "pass"));
    *pass = nullptr;
    DSAPERF_TRY(capi::not_null(layer, "layer"));
    DSAPERF_TRY(capi::not_null(cache, "cache"));
    DSAPERF_TRY_ASSIGN(const auto given, capi::read(batch, "batch"));
    DSAPERF_TRY_ASSIGN(const auto asked, capi::read(options, "options"));
    return capi::create_pass(*layer, *cache, given, asked, pass);
  });
}

void dsaperf_pass_destroy(dsaperf_pass* pass) {
  delete pass;
}

dsaperf_status dsaperf_pass_get_view(const dsaperf_pass* pass, dsaperf_pass_view* view,
                                     dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(pass, "pass"));
    const auto& prepared = pass->pass;
    return capi::write({.struct_size = 0,
                        .x = prepared.at("x").bf16(),
                        .y = prepared.at("y").bf16(),
                        .selection = prepared.at("selection").i32(),
                        .tokens = prepared.tokens,
                        .selected = prepared.selected},
                       view, "view");
  });
}

dsaperf_status dsaperf_pass_enqueue(dsaperf_pass* pass, dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(pass, "pass"));
    return pass->layer->enqueue(pass->pass, *pass->cache);
  });
}

dsaperf_status dsaperf_pass_advance(dsaperf_pass* pass, const uint16_t* x, int64_t x_count,
                                    const int32_t* selection, int64_t selection_count,
                                    dsaperf_error* error) {
  return capi::guarded(error, [&]() -> Result<void> {
    DSAPERF_TRY(capi::not_null(pass, "pass"));
    DSAPERF_TRY(capi::check_extents("pass", {{x_count}, {selection_count}}));
    if (x_count > 0) DSAPERF_TRY(capi::not_null(x, "x"));
    if (selection_count > 0) DSAPERF_TRY(capi::not_null(selection, "selection"));
    return pass->layer->advance(pass->pass, *pass->cache, capi::values(x, x_count),
                                capi::values(selection, selection_count));
  });
}

}  // extern "C"
