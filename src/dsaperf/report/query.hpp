#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/predict/layer_pass.hpp"
#include "dsaperf/predict/layer_predictor.hpp"
#include "dsaperf/predict/query_file.hpp"
#include "dsaperf/predict/what_if.hpp"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace dsaperf::report {

// One operator: what was asked, what was answered, and why.
struct LayerAnswer {
  predict::Tables tables;  // version as it was resolved
  predict::LayerKind kind;
  predict::LayerShape shape;
  predict::Method method = predict::Method::kCompatible;
  predict::LayerLatency latency = {};
  std::optional<Micros> peer_bound = {};
  std::optional<predict::stages::Explanation> explanation = {};
  std::vector<predict::Variation> variations = {};
  std::vector<predict::RequestGroup> requests = {};         // of a pass of unlike requests
  std::vector<predict::ChunkedPrefill::Chunk> chunks = {};  // of a prefill in chunks
};

std::string text(const LayerAnswer& answer, const TextStyle& style);
nlohmann::ordered_json json(const LayerAnswer& answer);  // dsaperf.query.1

std::string text(const predict::QueryFileSummary& summary);
nlohmann::ordered_json json(const predict::QueryFileSummary& summary);  // dsaperf.query.1

}  // namespace dsaperf::report
