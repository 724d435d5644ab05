#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/layer_predictor.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict {

// One size or format of a question, changed.
struct Change {
  std::string axis;   // heads, batch, new, past, topk, index_heads, kv
  std::string value;  // "4096", "fp8"
};

// "topk=512..4096,heads=8|16|128,kv=fp8": axes apart by commas; values apart by "|", or a range
// whose values double. Fails with kInvalidArgument and the part that is wrong.
Result<std::vector<Change>> parse_changes(std::string_view text);

struct Variation {
  Change change;
  std::optional<LayerLatency> latency;  // empty: see error
  std::string error;
  std::string payer;    // the stage whose time changes most
  Micros payer_change;  // by this much
};

// The answer for each change alone, all else as asked; stage times against those of the question
// itself.
Result<std::vector<Variation>> vary(LayerPredictor& predictor, const Tables& tables,
                                    const LayerKind& kind, const LayerShape& shape,
                                    const std::vector<Change>& changes);

}  // namespace dsaperf::predict
