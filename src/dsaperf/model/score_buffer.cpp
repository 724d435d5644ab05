#include "dsaperf/model/score_buffer.hpp"

#include "dsaperf/core/ceil_div.hpp"

#include <algorithm>

namespace dsaperf::model {
namespace {

// Entries of one row. Block families score every token but keep one maximum a block, for each of
// their index heads, which select apart.
std::int64_t row_entries(const LayerPlan& layer, std::int64_t context) {
  const auto& indexer = *layer.indexer;
  if (layer.attention == AttentionKind::kBlockSparse) {
    const std::int64_t block = std::max(1, indexer.block);
    return indexer.heads * ceil_div(context, block);
  }
  const std::int64_t pool = std::max(1, indexer.pool);
  return ceil_div(context, pool);
}

}  // namespace

Bytes score_buffer(const LayerPlan& layer, std::int64_t new_tokens, std::int64_t context) {
  if (!layer.indexer || layer.indexer_role == IndexerRole::kNone) return {};
  return {new_tokens * row_entries(layer, context) * 4};
}

std::int64_t chunk_within(const LayerPlan& layer, Bytes budget, std::int64_t context) {
  const auto row = score_buffer(layer, 1, context);
  if (row.value == 0) return 0;
  constexpr std::int64_t kPage = 64;
  const std::int64_t tokens = budget.value / row.value;
  return tokens >= kPage ? tokens / kPage * kPage : tokens;
}

}  // namespace dsaperf::model
