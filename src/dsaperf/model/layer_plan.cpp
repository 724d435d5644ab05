#include "dsaperf/model/layer_plan.hpp"

namespace dsaperf::model {

std::vector<Stage> stages_of(const LayerPlan& layer, bool dense_regime) {
  std::vector<Stage> stages;
  if (layer.attention != AttentionKind::kDsa && layer.attention != AttentionKind::kMla)
    return stages;
  const bool has_indexer = layer.indexer_role == IndexerRole::kFull;
  for (const Stage stage : all_stages()) {
    if (is_selection(stage) && (!has_indexer || dense_regime)) continue;
    if (stage == Stage::kIndexCacheWrite && !has_indexer) continue;
    stages.push_back(stage);
  }
  return stages;
}

bool is_sparse(AttentionKind kind) {
  switch (kind) {
    case AttentionKind::kNone:
    case AttentionKind::kGqa:
    case AttentionKind::kMla:
    case AttentionKind::kSlidingWindow:
    case AttentionKind::kLinear:
      return false;
    case AttentionKind::kDsa:
    case AttentionKind::kPooledDsa:
    case AttentionKind::kCompressedSparse:
    case AttentionKind::kHeavilyCompressed:
    case AttentionKind::kBlockSparse:
    case AttentionKind::kLightningSparse:
    case AttentionKind::kBudgetSparse:
      return true;
  }
  return false;
}

bool has_latent_cache(const LayerPlan& layer) {
  return layer.geometry.kv_lora > 0 && layer.attention != AttentionKind::kLinear &&
         layer.attention != AttentionKind::kNone;
}

std::string_view name(AttentionKind kind) {
  switch (kind) {
    case AttentionKind::kNone:
      return "none";
    case AttentionKind::kGqa:
      return "gqa";
    case AttentionKind::kMla:
      return "mla";
    case AttentionKind::kSlidingWindow:
      return "sliding_window";
    case AttentionKind::kLinear:
      return "linear";
    case AttentionKind::kDsa:
      return "dsa";
    case AttentionKind::kPooledDsa:
      return "pooled_dsa";
    case AttentionKind::kCompressedSparse:
      return "compressed_sparse";
    case AttentionKind::kHeavilyCompressed:
      return "heavily_compressed";
    case AttentionKind::kBlockSparse:
      return "block_sparse";
    case AttentionKind::kLightningSparse:
      return "lightning_sparse";
    case AttentionKind::kBudgetSparse:
      return "budget_sparse";
  }
  return "unknown";
}

std::string_view name(IndexerRole role) {
  switch (role) {
    case IndexerRole::kNone:
      return "none";
    case IndexerRole::kFull:
      return "full";
    case IndexerRole::kShared:
      return "shared";
  }
  return "unknown";
}

std::string_view name(MlpKind kind) {
  switch (kind) {
    case MlpKind::kDense:
      return "dense";
    case MlpKind::kMoe:
      return "moe";
    case MlpKind::kDenseAndMoe:
      return "dense_and_moe";
    case MlpKind::kNone:
      return "none";
  }
  return "unknown";
}

std::string_view name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kFp8Block:
      return "fp8_block";
    case WeightFormat::kFp8:
      return "fp8";
    case WeightFormat::kNvfp4:
      return "nvfp4";
    case WeightFormat::kMxfp4:
      return "mxfp4";
    case WeightFormat::kInt4:
      return "int4";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kMxfp8:
      return "mxfp8";
  }
  return "unknown";
}

std::string_view name(KvFormat format) {
  return format == KvFormat::kBf16 ? "bf16" : "fp8";
}

}  // namespace dsaperf::model
