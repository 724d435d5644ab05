#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/model/aiconfigurator_mapping.hpp"
#include "dsaperf/model/cache_bytes.hpp"
#include "dsaperf/model/kernel_support.hpp"
#include "dsaperf/model/model_difference.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/model/model_weights.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace dsaperf::model {

// What the answers depend on besides the model.
struct AnalysisOptions {
  Parallel parallel;
  std::int64_t chunk = 8192;  // new tokens of a prefill chunk
  std::int64_t context = 0;   // tokens visible at its end; 0: the model's longest
  Bytes score_budget{1 << 30};
};

struct ScoreBufferAnswer {
  std::int64_t chunk = 0;
  std::int64_t context = 0;
  Bytes bytes;
  Bytes budget;
  std::int64_t chunk_within_budget = 0;
};

// Phase 1 in one object: all that `dsaperf analyze` shows.
struct Analysis {
  ModelSpec spec;
  AnalysisOptions options;
  ModelWeights weights;
  ModelCache cache_bf16, cache_fp8;          // without MTP
  ModelCache mtp_cache_bf16, mtp_cache_fp8;  // of the MTP layers alone
  AiconfiguratorMapping aiconfigurator;
  KernelSupport kernels;
  std::optional<ScoreBufferAnswer> score_buffer;  // nothing where no indexer runs
  std::optional<NearestModel> nearest;
  std::optional<NearestModel> against;  // the model asked for with --against
};

// Fails where the layout over ranks does not divide (check_parallel). The nearest of `known`
// (load_bundled_models) is named.
Result<Analysis> analyse(ModelSpec spec, const AnalysisOptions& options,
                         std::span<const ModelSpec> known);

// The same with the differences to one model instead.
Result<Analysis> analyse_against(ModelSpec spec, const AnalysisOptions& options,
                                 const ModelSpec& other);

}  // namespace dsaperf::model
