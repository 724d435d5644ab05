#pragma once

#include "dsaperf/model/model_spec.hpp"

#include <string>
#include <vector>

namespace dsaperf::model {

// Consecutive layers that repeat a short pattern: {3, 77, {shared, shared, shared, full}}. A run of
// equal layers has a pattern of one.
struct LayerRun {
  int first = 0;  // positions in ModelSpec::layers
  int last = 0;
  std::vector<const LayerPlan*> pattern;

  int count() const { return last - first + 1; }
};

// Cuts the layers into as few runs as a greedy reading finds; patterns are up to 8 layers long and
// stand at least twice. MTP layers are never in a run with main ones.
std::vector<LayerRun> layer_runs(const ModelSpec& spec);

// "DSA, indexer full every 4th, else shared", "CSA 4, HCA 128 in turn".
std::string describe_attention(const LayerRun& run);
std::string describe_mlp(const LayerRun& run);

// The name people use: "DSA", "MLA", "linear", "HCA 128".
std::string short_name(const LayerPlan& layer);

}  // namespace dsaperf::model
