#include "dsaperf/op/cache_manager.hpp"

#include "dsaperf/kernels/layout.hpp"

namespace dsaperf::op {
namespace {

using kernels::KvRows;

std::int64_t row_bytes(KvRows::Format format) {
  return format == KvRows::Format::kBf16 ? kernels::kKvRowBytesBf16 : kernels::kKvRowBytesFp8;
}

}  // namespace

Result<CacheManager> CacheManager::create(Backend& backend, const Options& options) {
  DSAPERF_TRY_ASSIGN(auto pool, BlockPool::create(options.pages));
  DSAPERF_TRY_ASSIGN(
      auto kv, backend.allocate(options.pages * kernels::kPageTokens * row_bytes(options.kv)));
  DSAPERF_TRY_ASSIGN(
      auto index,
      backend.allocate(options.index_keys ? options.pages * kernels::kIndexPageBytes : 0));
  return CacheManager(backend, options, std::move(pool), std::move(kv), std::move(index));
}

Result<std::vector<std::int64_t>> CacheManager::append(std::span<const BatchRequest> requests) {
  BlockPool pool = pool_;  // tried on a copy: what fails half way must not show
  std::vector<std::int64_t> slots;
  std::vector<BlockPool::PageCopy> copies;
  for (const auto& [request, new_tokens] : requests) {
    DSAPERF_TRY_ASSIGN(const auto appended, pool.append(request, new_tokens));
    slots.insert(slots.end(), appended.slots.begin(), appended.slots.end());
    copies.insert(copies.end(), appended.copies.begin(), appended.copies.end());
  }
  const auto copy_page = [this](const BlockPool::PageCopy& copy, std::uint8_t* pages,
                                std::int64_t bytes) {
    return backend_->copy_rows(pages + copy.from * bytes, bytes, pages + copy.to * bytes, bytes,
                               bytes, 1);
  };
  for (const auto& copy : copies) {
    DSAPERF_TRY(
        copy_page(copy, kv_.as<std::uint8_t>(), kernels::kPageTokens * row_bytes(options_.kv)));
    if (options_.index_keys) DSAPERF_TRY(copy_page(copy, index_pages(), kernels::kIndexPageBytes));
  }
  pool_ = std::move(pool);
  return slots;
}

KvRows CacheManager::kv_rows() const {
  return {.data = kv_.data(),
          .format = options_.kv,
          .rows = options_.pages * kernels::kPageTokens,
          .row_stride_bytes = row_bytes(options_.kv)};
}

kernels::KvCacheWriteParams CacheManager::kv_write(const void* latent, const void* rope,
                                                   const std::int64_t* slots,
                                                   std::int64_t tokens) const {
  const auto rows = kv_rows();
  return {.latent = latent,
          .rope = rope,
          .slots = slots,
          .cache = kv_.data(),
          .tokens = tokens,
          .rows = rows.rows,
          .latent_stride = kernels::kLatentDim,
          .rope_stride = kernels::kRopeDim,
          .row_stride_bytes = rows.row_stride_bytes,
          .format = rows.format,
          .scale_format = options_.kv_scales};
}

kernels::IndexKeyCacheWriteParams CacheManager::index_key_write(const std::uint8_t* values,
                                                                const float* scales,
                                                                const std::int64_t* slots,
                                                                std::int64_t tokens) const {
  return {.values = values,
          .scales = scales,
          .slots = slots,
          .pages = index_pages(),
          .tokens = tokens,
          .page_count = pool_.pages(),
          .page_stride_bytes = kernels::kIndexPageBytes};
}

}  // namespace dsaperf::op
