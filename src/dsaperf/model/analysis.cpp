#include "dsaperf/model/analysis.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/score_buffer.hpp"

#include <utility>

namespace dsaperf::model {
namespace {

ModelCache minus(const ModelCache& a, const ModelCache& b) {
  return {.kv_bytes_per_token = a.kv_bytes_per_token - b.kv_bytes_per_token,
          .index_bytes_per_token = a.index_bytes_per_token - b.index_bytes_per_token,
          .window_bytes_per_request = a.window_bytes_per_request - b.window_bytes_per_request};
}

std::optional<ScoreBufferAnswer> score_answer(const ModelSpec& spec,
                                              const AnalysisOptions& options) {
  const auto& layer = typical_layer(spec);
  if (layer.indexer_role == IndexerRole::kNone || layer.indexer->heads == 0) return std::nullopt;
  constexpr std::int64_t kUsualContext = 131072;
  ScoreBufferAnswer answer;
  answer.chunk = options.chunk;
  answer.context = options.context > 0      ? options.context
                   : spec.max_positions > 0 ? spec.max_positions
                                            : kUsualContext;
  answer.bytes = score_buffer(layer, answer.chunk, answer.context);
  answer.budget = options.score_budget;
  answer.chunk_within_budget = chunk_within(layer, options.score_budget, answer.context);
  return answer;
}

Result<Analysis> analyse_alone(ModelSpec spec, const AnalysisOptions& options) {
  DSAPERF_TRY(check_parallel(spec, options.parallel).map_error([&](Error error) {
    return std::move(error).with_context(spec.source);
  }));
  Analysis analysis;
  analysis.options = options;
  analysis.weights = model_weights(spec, options.parallel);
  const int tp = options.parallel.tp;
  analysis.cache_bf16 = model_cache(spec, KvFormat::kBf16, false, tp);
  analysis.cache_fp8 = model_cache(spec, KvFormat::kFp8, false, tp);
  analysis.mtp_cache_bf16 =
      minus(model_cache(spec, KvFormat::kBf16, true, tp), analysis.cache_bf16);
  analysis.mtp_cache_fp8 = minus(model_cache(spec, KvFormat::kFp8, true, tp), analysis.cache_fp8);
  analysis.aiconfigurator = aiconfigurator_mapping(spec);
  analysis.kernels = kernel_support(spec, tp);
  analysis.score_buffer = score_answer(spec, options);
  analysis.spec = std::move(spec);
  return analysis;
}

}  // namespace

Result<Analysis> analyse(ModelSpec spec, const AnalysisOptions& options,
                         std::span<const ModelSpec> known) {
  DSAPERF_TRY_ASSIGN(auto analysis, analyse_alone(std::move(spec), options));
  analysis.nearest = nearest_model(analysis.spec, known);
  return analysis;
}

Result<Analysis> analyse_against(ModelSpec spec, const AnalysisOptions& options,
                                 const ModelSpec& other) {
  DSAPERF_TRY_ASSIGN(auto analysis, analyse_alone(std::move(spec), options));
  analysis.against = NearestModel{other.name, differences(analysis.spec, other)};
  return analysis;
}

}  // namespace dsaperf::model
