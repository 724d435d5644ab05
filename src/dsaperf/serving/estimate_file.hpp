#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/estimate.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {

// A deployment that was measured, and what is estimated for it. Columns of the file: model,
// precision, gpu, n_gpus, framework, mode, tp, dp, ep, mtp, isl, osl, concurrency, ttft_ms,
// tpot_ms, stat, tok_s, source, length_ratio, repeated_prompts; others pass through. `stat` picks
// the statistic of the estimate (a mean where it says none). What the last two do not say is known
// of some sources (load_clients.hpp).
struct MeasuredRow {
  std::string model, precision, gpu, framework, mode, source;
  std::string stat;  // which statistic was measured: "mean", "median", "ttft mean, tpot p99"
  std::optional<double> ttft_ms, tpot_ms;  // measured
  EstimateInputs inputs;
  std::string left_out;  // why the row was not estimated
  std::optional<double> estimated_ttft_ms, estimated_tpot_ms, estimated_tok_s;
  std::vector<std::string> assumed;
};

// Mean absolute relative error over rows with both values.
struct ErrorSummary {
  std::string group;  // "all", a card, a card and framework
  int rows = 0;
  double ttft = 0, tpot = 0;
};

struct FileEstimate {
  std::vector<MeasuredRow> rows;
  std::vector<ErrorSummary> errors;
  std::string
      csv;  // the input with estimated_ttft_ms, estimated_tpot_ms, estimated_tok_s, estimated_error
};

// `settings`: method, length ratio and other options for every row; what a row states wins. Fails
// where the file is none, or a length_ratio or repeated_prompts is out of range: a mistyped one
// would otherwise be an estimate of other requests.
using OpenSystem = std::function<Result<predict::compatible::OperatorSet>(const std::string& system,
                                                                          Engine engine)>;
Result<FileEstimate> estimate_file(const std::filesystem::path& path,
                                   const EstimateInputs& settings, const OpenSystem& open);

// The bundled model that a name and a precision stand for ("GLM-5", "fp8": zai-org/GLM-5-FP8).
Result<std::string> bundled_name(const std::string& model, const std::string& precision);

}  // namespace dsaperf::serving
