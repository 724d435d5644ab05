#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/cost/shape.hpp"
#include "dsaperf/model/layer_plan.hpp"
#include "dsaperf/model/stage.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {

// How the indexer's scores are spread over the positions: top-k's time depends on it. What each is,
// and how it is made, says op::ScoreDistribution.
enum class ScoreDistribution {
  kModelLike,  // op's kNormal
  kFlat,
  kPeaked,
};
enum class Launch { kGraph, kEager };

// One spelling in case ids, JSON, tables and flags; the model's formats and roles have theirs from
// model.
std::string_view name(ScoreDistribution distribution);
std::string_view name(Launch launch);
std::optional<ScoreDistribution> score_distribution_from(std::string_view text);
std::optional<Launch> launch_from(std::string_view text);
std::optional<model::KvFormat> kv_format_from(std::string_view text);
std::optional<model::WeightFormat> weight_format_from(std::string_view text);
std::optional<model::IndexerRole> indexer_role_from(std::string_view text);
std::optional<perfdb::Phase> phase_from(std::string_view text);

// y[m, n] = x[m, k] W[n, k].
struct GemmSizes {
  std::int64_t m = 0, n = 0, k = 0;
};

// One shape of one layer, or of some of its stages, to be measured, cold and warm. Everything that
// changes the time is here and in the id; two cases with the same id are the same measurement.
struct Case {
  perfdb::Phase phase = perfdb::Phase::kContext;
  std::vector<cost::RequestGroup> requests = {};  // one group: a uniform batch
  int heads = 0;                                  // of one rank
  model::KvFormat kv = model::KvFormat::kBf16;
  model::WeightFormat gemm = model::WeightFormat::kFp8Block;
  model::IndexerRole role = model::IndexerRole::kFull;
  ScoreDistribution scores = ScoreDistribution::kModelLike;
  Launch launch = Launch::kGraph;
  // Empty: the whole layer. Else these stages of it alone, each by itself (by_stage.hpp).
  std::vector<model::Stage> stages = {};
  // Not a layer but this matrix product with weights of the format `gemm`: of the other axes only
  // `launch` counts (gemm_plan.hpp).
  std::optional<GemmSizes> product = {};

  bool whole() const { return stages.empty() && !product; }
  bool uniform() const { return requests.size() == 1; }
  std::int64_t batch() const;           // requests in all
  std::int64_t new_tokens() const;      // in all requests
  std::int64_t context_tokens() const;  // past and new, in all requests

  cost::Shape shape() const;

  // "context/2x4096+0": phase, then count x new + past of each group.
  std::string shape_text() const;
  // "context/2x4096+0/h128/kv_bf16/gemm_fp8_block/full/model_like/graph": the shape, then the
  // axes. Of some stages alone "/only:topk+attention" follows. Of a product
  // "gemm/m4096/n4096/k7168/gemm_fp8_block/graph".
  std::string id() const;

  // The inverse of id(). Fails with kParse and the part that is wrong.
  static Result<Case> from_id(std::string_view id);
};

}  // namespace dsaperf::collect
