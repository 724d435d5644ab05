#include "dsaperf/collect/layer_arena.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/layer_choice.hpp"
#include "dsaperf/op/new_tokens.hpp"
#include "dsaperf/op/past_tokens.hpp"
#include "dsaperf/op/peaked_scores.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <numeric>
#include <ranges>

namespace dsaperf::collect {
namespace {

using kernels::kPageTokens;

// Streams of random numbers; op's tensors have others.
constexpr std::uint64_t kSelectionStream = 18;
constexpr std::uint64_t kMarkedPagesStream = 1;  // of past tokens; those of all pages have 0

op::ScoreDistribution distribution_of(ScoreDistribution scores) {
  switch (scores) {
    case ScoreDistribution::kFlat:
      return op::ScoreDistribution::kFlat;
    case ScoreDistribution::kPeaked:
      return op::ScoreDistribution::kPeaked;
    case ScoreDistribution::kModelLike:
      break;
  }
  return op::ScoreDistribution::kNormal;
}

kernels::KvRows::Format format_of(model::KvFormat kv) {
  return kv == model::KvFormat::kBf16 ? kernels::KvRows::Format::kBf16
                                      : kernels::KvRows::Format::kFp8;
}

}  // namespace

SpecOfCase spec_of_model(model::ModelSpec model) {
  return [model = std::move(model)](const Case& what) -> Result<op::LayerSpec> {
    int layer = -1;
    if (model::typical_layer(model).indexer_role != what.role) {
      const auto found =
          std::ranges::find(model.layers, what.role, &model::LayerPlan::indexer_role);
      if (found == model.layers.end()) {
        return fail(Errc::kInvalidArgument, "{} has no layer of the kind '{}'", model.name,
                    model::name(what.role));
      }
      layer = found->index;
    }
    const auto projections = what.gemm == model::WeightFormat::kBf16 ? op::Projections::kBf16
                                                                     : op::Projections::kFp8Block;
    return op::layer_spec(model, {.layer = layer, .heads = what.heads, .projections = projections});
  };
}

std::int64_t pages_of(const Case& what) {
  std::int64_t pages = 0;
  for (const auto& group : what.requests) {
    const auto tokens = group.past_tokens + group.new_tokens;
    pages += group.count * ceil_div(tokens, kPageTokens);
  }
  return pages;
}

std::vector<std::int32_t> spread_selection(std::span<const std::int32_t> visible, int topk,
                                           std::uint64_t seed) {
  const auto width = static_cast<std::size_t>(topk);
  std::vector<std::int32_t> selection(visible.size() * width, -1);
  for (std::size_t t = 0; t < visible.size(); ++t) {
    const std::int32_t count = visible[t];
    std::int32_t* list = &selection[t * width];
    if (count <= topk) {
      std::iota(list, list + count, 0);
      continue;
    }
    // Steps of a length that shares no divisor with the number of positions meet none twice.
    const auto random = op::bits_at(seed, kSelectionStream, t);
    auto step = static_cast<std::int64_t>(random % static_cast<std::uint64_t>(count - 1)) + 1;
    while (std::gcd(step, std::int64_t{count}) != 1) step = step % (count - 1) + 1;
    auto position = static_cast<std::int64_t>((random >> 32) % static_cast<std::uint64_t>(count));
    for (std::size_t i = 0; i < width; ++i) {
      list[i] = static_cast<std::int32_t>(position);
      position += step;
      if (position >= count) position -= count;
    }
  }
  return selection;
}

LayerArena::LayerArena(op::Backend& backend, SpecOfCase spec_of, Options options)
    : backend_(backend), spec_of_(std::move(spec_of)), options_(options) {
}

std::string LayerArena::layer_key(const Case& what) {
  return fmt::format("{}/{}/{}/{}", what.heads, name(what.gemm), name(what.role),
                     name(what.scores));
}

std::string LayerArena::cache_key(const Case& what) {
  return fmt::format("{}/{}/{}", name(what.kv), name(what.scores),
                     what.role == model::IndexerRole::kFull);
}

Result<void> LayerArena::use_layer(const Case& what) {
  const auto key = layer_key(what);
  const auto kept = std::ranges::find(layers_, key, [](const auto& each) { return each->key; });
  if (kept != layers_.end()) {
    std::rotate(kept, kept + 1, layers_.end());
    layer_ = layers_.back().get();
    return {};
  }
  DSAPERF_TRY_ASSIGN(const auto spec, spec_of_(what));
  auto weights = op::random_weights(spec, options_.seed, distribution_of(what.scores));
  if (layers_.size() == kLayersKept) layers_.erase(layers_.begin());
  auto made = op::DsaLayer::create(backend_, spec, weights);
  if (!made && made.error().code() == Errc::kOutOfMemory) {
    layers_.clear();  // can be made again
    made = op::DsaLayer::create(backend_, spec, weights);
  }
  if (!made) return tl::unexpected<Error>(std::move(made).error());
  layers_.push_back(std::make_unique<Layer>(Layer{key, std::move(weights), *std::move(made)}));
  layer_ = layers_.back().get();
  ++layers_made_;
  return {};
}

bool LayerArena::peaked() const {
  return layer_->weights.scores == op::ScoreDistribution::kPeaked &&
         layer_->layer.spec().has_indexer;
}

std::size_t LayerArena::pages_of_topk() const {
  return static_cast<std::size_t>(ceil_div(layer_->layer.spec().topk, kPageTokens));
}

Result<void> LayerArena::copy_index_pages(const op::CacheManager& from, std::int64_t first,
                                          const op::CacheManager& to,
                                          std::span<const std::int32_t> pages) const {
  constexpr std::int64_t kPage = kernels::kIndexPageBytes;
  for (std::size_t begin = 0; begin < pages.size();) {
    std::size_t end = begin + 1;
    while (end < pages.size() && pages[end] == pages[end - 1] + 1) ++end;
    DSAPERF_TRY(
        backend_.copy_rows(from.index_pages() + (first + static_cast<std::int64_t>(begin)) * kPage,
                           kPage, to.index_pages() + pages[begin] * kPage, kPage, kPage,
                           static_cast<std::int64_t>(end - begin)));
    begin = end;
  }
  return {};
}

Result<void> LayerArena::make_marked_pages(Cache& cache) const {
  const auto pages = static_cast<std::int64_t>(2 * pages_of_topk());
  DSAPERF_TRY_ASSIGN(auto made, op::CacheManager::create(backend_, {.pages = pages}));
  cache.marked_pages = std::make_unique<op::CacheManager>(std::move(made));
  return op::fill_past(backend_, *cache.marked_pages, layer_->layer.spec(), layer_->weights,
                       cache.marked_pages->add_request(), pages * kPageTokens,
                       {.seed = options_.seed, .stream = kMarkedPagesStream});
}

// A pass writes marked keys as well: all of a request's first pages are taken to have them.
Result<void> LayerArena::unmark(Cache& cache) const {
  const auto unmarked = static_cast<std::int64_t>(pages_of_topk());
  for (const auto request : cache.requests) {
    DSAPERF_TRY_ASSIGN(const auto pages, cache.manager->pool().block_table(request));
    DSAPERF_TRY(copy_index_pages(*cache.marked_pages, unmarked, *cache.manager,
                                 pages.first(std::min(pages.size(), pages_of_topk()))));
  }
  return {};
}

Result<void> LayerArena::mark_past(const Cache& cache, op::RequestId request) const {
  DSAPERF_TRY_ASSIGN(const auto pages, cache.manager->pool().block_table(request));
  return copy_index_pages(*cache.marked_pages, 0, *cache.manager,
                          pages.first(std::min(pages.size(), pages_of_topk())));
}

Result<void> LayerArena::fill(const Cache& filled, op::CacheManager& cache) const {
  const std::int64_t pages = cache.pool().pages();
  const std::int64_t drawn =
      std::min(pages, std::max<std::int64_t>(options_.distinct_tokens / kPageTokens, 1));
  const auto request = cache.add_request();  // of a fresh pool: pages 0 ... drawn - 1
  DSAPERF_TRY(op::fill_past(backend_, cache, layer_->layer.spec(), layer_->weights, request,
                            drawn * kPageTokens, {.seed = options_.seed, .stream = 0}));
  if (peaked()) {
    std::vector<std::int32_t> first(std::min<std::size_t>(drawn, pages_of_topk()));
    std::iota(first.begin(), first.end(), 0);
    DSAPERF_TRY(copy_index_pages(*filled.marked_pages, static_cast<std::int64_t>(pages_of_topk()),
                                 cache, first));
  }
  const auto rows = cache.kv_rows();
  const std::int64_t kv_page = kPageTokens * rows.row_stride_bytes;
  auto* const kv = static_cast<std::uint8_t*>(const_cast<void*>(rows.data));
  for (std::int64_t page = drawn; page < pages; page += drawn) {
    const std::int64_t count = std::min(drawn, pages - page);
    DSAPERF_TRY(backend_.copy_rows(kv, kv_page, kv + page * kv_page, kv_page, kv_page, count));
    if (!cache.options().index_keys) continue;
    constexpr std::int64_t kPage = kernels::kIndexPageBytes;
    DSAPERF_TRY(backend_.copy_rows(cache.index_pages(), kPage, cache.index_pages() + page * kPage,
                                   kPage, kPage, count));
  }
  DSAPERF_TRY(backend_.synchronise());
  return cache.remove_request(request);
}

Result<LayerArena::Cache*> LayerArena::use_cache(const Case& what, std::int64_t pages) {
  const bool index_keys = layer_->layer.spec().has_indexer;
  const auto key = cache_key(what);
  auto& cache = caches_[key];
  if (cache.manager && cache.manager->pool().pages() >= pages) {
    if (peaked()) DSAPERF_TRY(unmark(cache));
    // In reverse, so that the pool hands out pages in the same order to every case.
    for (const auto request : std::views::reverse(cache.requests)) {
      DSAPERF_TRY(cache.manager->remove_request(request));
    }
    cache.requests.clear();
    return &cache;
  }
  cache = {};
  const auto create = [&]() -> Result<op::CacheManager> {
    return op::CacheManager::create(backend_, {.pages = std::max(pages, options_.pages),
                                               .kv = format_of(what.kv),
                                               .index_keys = index_keys});
  };
  auto made = create();
  if (!made && made.error().code() == Errc::kOutOfMemory) {
    // The caches of other formats can be made again.
    std::erase_if(caches_, [&](const auto& other) { return other.first != key; });
    made = create();
  }
  if (!made) return tl::unexpected<Error>(std::move(made).error());
  auto manager = std::make_unique<op::CacheManager>(*std::move(made));
  if (peaked()) DSAPERF_TRY(make_marked_pages(cache));
  DSAPERF_TRY(fill(cache, *manager));
  cache.manager = std::move(manager);
  ++caches_made_;
  return &cache;
}

Result<void> LayerArena::write_x(const op::ForwardPass& pass) {
  const std::int64_t row_bytes = 2 * std::int64_t{pass.spec.hidden};
  const auto needed = static_cast<std::size_t>(pass.tokens * row_bytes);
  if (x_.bytes() < needed) {
    const auto drawn = op::random_hidden_states(pass.spec.hidden, options_.seed, pass.tokens);
    x_ = {};
    DSAPERF_TRY_ASSIGN(x_, backend_.allocate(needed));
    DSAPERF_TRY(backend_.upload(drawn.data(), needed, x_.data()));
  }
  void* const target = pass.at("x").buffer.data();
  DSAPERF_TRY(backend_.copy_rows(x_.data(), row_bytes, target, row_bytes, row_bytes, pass.tokens));
  if (!peaked()) return {};
  // Marks go by position, which differs from case to case.
  std::vector<std::array<std::uint16_t, op::kMarks>> marks;
  for (const auto position : pass.position) {
    marks.push_back(op::token_marks(position, pass.spec.topk));
  }
  constexpr std::int64_t kMarkBytes = sizeof(marks[0]);
  marks_ = {};
  DSAPERF_TRY_ASSIGN(marks_, backend_.allocate(marks.size() * kMarkBytes));
  DSAPERF_TRY(backend_.upload(marks.data(), marks.size() * kMarkBytes, marks_.data()));
  return backend_.copy_rows(marks_.data(), kMarkBytes, target, row_bytes, kMarkBytes, pass.tokens);
}

Result<void> LayerArena::write_selection(const Case& what, const op::ForwardPass& pass) {
  const int topk = pass.spec.topk;
  const std::int64_t row_bytes = 4 * std::int64_t{topk};
  auto shape = what.shape_text();
  if (selection_of_ != shape) {
    const auto lists = spread_selection(pass.visible, topk, options_.seed);
    selection_of_.clear();
    selection_ = {};
    DSAPERF_TRY_ASSIGN(selection_, backend_.allocate(lists.size() * 4));
    DSAPERF_TRY(backend_.upload(lists.data(), lists.size() * 4, selection_.data()));
    selection_of_ = std::move(shape);
    ++selections_made_;
  }
  return backend_.copy_rows(selection_.data(), row_bytes, pass.at("selection").buffer.data(),
                            row_bytes, row_bytes, pass.tokens);
}

Result<LayerArena::Prepared> LayerArena::prepare(const Case& what) {
  DSAPERF_TRY(use_layer(what));
  DSAPERF_TRY_ASSIGN(Cache* const cache, use_cache(what, pages_of(what)));
  std::vector<op::BatchRequest> batch;
  for (const auto& group : what.requests) {
    for (std::int64_t r = 0; r < group.count; ++r) {
      const auto request = cache->manager->add_request();
      cache->requests.push_back(request);
      DSAPERF_TRY(cache->manager->append(request, group.past_tokens));
      if (peaked()) DSAPERF_TRY(mark_past(*cache, request));
      batch.push_back({.request = request, .new_tokens = group.new_tokens});
    }
  }
  DSAPERF_TRY_ASSIGN(auto pass,
                     layer_->layer.prepare(*cache->manager, batch, {}, {}, {.inputs_later = true}));
  DSAPERF_TRY(write_x(pass));
  if (!pass.spec.has_indexer && !pass.dense) DSAPERF_TRY(write_selection(what, pass));
  DSAPERF_TRY(backend_.synchronise());
  return Prepared{&layer_->layer, cache->manager.get(), std::move(pass)};
}

}  // namespace dsaperf::collect
