#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/op/layer_check.hpp"
#include "dsaperf/op/layer_timing.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace dsaperf::op {

// One layer at one shape: every request the same.
struct RunOptions {
  std::int64_t batch = 1;
  std::int64_t new_tokens = 1;
  std::int64_t past = 0;
  kernels::KvRows::Format kv = kernels::KvRows::Format::kBf16;
  std::uint64_t seed = 1;
  std::size_t check_tokens = 0;  // rows to compare with the reference; 0: no check
  int threads = 0;               // of the check; 0: all
  double seconds = 2;            // for repetitions beyond the first run
  Launch launch = Launch::kEager;
  int warmup = 0;  // passes before the first sample
  // Times passes whole as well, apart from their stages: on a GPU, where noting times within a pass
  // shows.
  bool whole_passes = false;
  std::int64_t score_bytes = PassOptions{}.score_bytes;
};

// Cold: caches overwritten before the pass. Warm: passes back to back. The first pass of all is
// cold and always measured (after `warmup`); there are no warm ones where it took longer than
// `seconds`.
struct StageTime {
  model::Stage stage = model::Stage::kQkvAProjection;
  std::vector<double> cold_us = {};  // samples
  std::vector<double> warm_us = {};
};

struct LayerRun {
  std::vector<StageTime> stages = {};  // those that ran, in order
  std::vector<double> cold_us = {};    // whole passes; sums of stages unless asked for
  std::vector<double> warm_us = {};
  bool dense = false;
  std::int64_t tokens = 0;
  Bytes weights = {};
  Bytes caches = {};
  Bytes activations = {};
  Bytes peak = {};  // of the backend's memory
  std::optional<LayerCheck> check = {};
};

// Makes a random past, runs the layer, times its stages. Fails with kInvalidArgument
// for sizes that make no sense and with kOutOfMemory where they do not fit. With `dump` every
// tensor of the pass and the new cache rows are written there as one safetensors file.
Result<LayerRun> run_layer(Backend& backend, const LayerSpec& spec, const LayerWeights& weights,
                           const RunOptions& options, const std::filesystem::path& dump = {});

}  // namespace dsaperf::op
