#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/forward_pass.hpp"
#include "dsaperf/op/layer_spec.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dsaperf::collect {

// The layer of a case, less its sizes.
using SpecOfCase = std::function<Result<op::LayerSpec>(const Case& what)>;

// Of a model: its typical layer, or its first that shares a selection, with the case's heads and
// projections. Fails with kInvalidArgument where the model has no such layer.
SpecOfCase spec_of_model(model::ModelSpec model);

// What cases of one process share, so that none of them pays for it: layers with their weights,
// caches whose every page holds random past tokens, random new tokens, and the selection that
// layers without an indexer are handed. A case takes pages and gives them back.
//
// Of the layers the last few are kept, as many as plans hold together (plan.hpp), of the caches one
// for each format, of the selections that of the last shape.
class LayerArena {
 public:
  static constexpr std::size_t kLayersKept = kLayersTogether;
  // What cases share a layer, and a cache.
  static std::string layer_key(const Case& what);
  static std::string cache_key(const Case& what);

  struct Options {
    std::int64_t pages = 0;  // of a cache at least; it grows for a case that needs more
    // Tokens of the caches that are drawn; behind them they repeat. Above the longest past, no
    // request sees an index key twice, which would be a tie of scores.
    std::int64_t distinct_tokens = std::int64_t{1} << 20;
    std::uint64_t seed = 1;
  };

  // The backend must outlive the arena.
  LayerArena(op::Backend& backend, SpecOfCase spec_of, Options options);

  struct Prepared {
    const op::DsaLayer* layer;
    op::CacheManager* cache;
    op::ForwardPass pass;
  };
  // Ready to run; what the case before had is taken back. Layer and cache stay until the next call.
  Result<Prepared> prepare(const Case& what);

  // How often something was made that the next cases use again.
  int layers_made() const { return layers_made_; }
  int caches_made() const { return caches_made_; }
  int selections_made() const { return selections_made_; }

 private:
  struct Layer {
    std::string key;
    op::LayerWeights weights;
    op::DsaLayer layer;
  };
  struct Cache {
    std::unique_ptr<op::CacheManager> manager;
    std::vector<op::RequestId> requests;  // of the case
    // Of peaked scores: index keys of the first topk positions, then as many pages of others.
    std::unique_ptr<op::CacheManager> marked_pages;
  };

  Result<void> use_layer(const Case& what);
  Result<Cache*> use_cache(const Case& what, std::int64_t pages);
  Result<void> fill(const Cache& filled, op::CacheManager& cache) const;
  // Peaked scores (op/peaked_scores.hpp) want the keys of every request's first topk positions
  // marked, on whatever pages they lie, and no others.
  bool peaked() const;
  std::size_t pages_of_topk() const;
  Result<void> make_marked_pages(Cache& cache) const;
  Result<void> mark_past(const Cache& cache, op::RequestId request) const;
  Result<void> unmark(Cache& cache) const;
  // Index keys of pages from `first` on to these pages, one each.
  Result<void> copy_index_pages(const op::CacheManager& from, std::int64_t first,
                                const op::CacheManager& to,
                                std::span<const std::int32_t> pages) const;
  Result<void> write_x(const op::ForwardPass& pass);
  Result<void> write_selection(const Case& what, const op::ForwardPass& pass);

  op::Backend& backend_;
  SpecOfCase spec_of_;
  Options options_;
  std::vector<std::unique_ptr<Layer>> layers_;  // the latest last
  Layer* layer_ = nullptr;                      // of the case
  std::map<std::string, Cache> caches_;
  // In the backend's memory: new tokens of the largest case so far, whose first are every other's;
  // positions for the shape that selection_of_ names.
  op::Buffer x_;
  op::Buffer marks_;
  op::Buffer selection_;
  std::string selection_of_;
  int layers_made_ = 0;
  int caches_made_ = 0;
  int selections_made_ = 0;
};

// Positions for layers that are handed a selection: for each token `topk` distinct ones of those
// visible to it, spread over all of them in random order, or all and then -1. [visible.size(),
// topk]
std::vector<std::int32_t> spread_selection(std::span<const std::int32_t> visible, int topk,
                                           std::uint64_t seed);

// Pages of 64 tokens that a case's requests take.
std::int64_t pages_of(const Case& what);

}  // namespace dsaperf::collect
