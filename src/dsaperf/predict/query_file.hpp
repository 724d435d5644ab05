#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/layer_predictor.hpp"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

namespace dsaperf::predict {

struct QueryFileSummary {
  std::size_t rows = 0;
  std::size_t failed = 0;
  std::map<std::string, std::size_t> by_source;  // "measured", "interpolated", ...
};

// Answers every row of a CSV file (plain or gzip) and writes it, with the answer in five columns
// more, to `output` (gzip where it ends in .gz). Columns read:
//
//   system, backend, version, architecture, phase (context, generation), num_heads_local,
//   kv_cache_dtype, fmha_dtype, gemm_dtype, batch, new_tokens_or_seq, prefix, full_layer_fraction,
//   cp_size
//
// new_tokens_or_seq: new tokens of a request (context) or its total length with the new token
// (generation). version, fmha_dtype, prefix, full_layer_fraction and cp_size may be missing or
// empty ("", bfloat16, 0, 1, 1). All columns pass through; order and number of rows stay. Columns
// added, or replaced where they are there:
//
//   predicted_ms                         empty where there is no answer
//   predicted_low_ms, predicted_high_ms  empty where there is no interval
//   predicted_source                     measured, interpolated, extrapolated, modelled, bound
//   predicted_error                      why there is no answer
//
// A row that cannot be answered is no failure of the file. Fails where the file cannot be read,
// lacks a column, or the output cannot be written.
Result<QueryFileSummary> answer_file(const std::filesystem::path& input,
                                     const std::filesystem::path& output,
                                     LayerPredictor& predictor);

}  // namespace dsaperf::predict
