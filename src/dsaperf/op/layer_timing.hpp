#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/dsa_layer.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace dsaperf::op {

// A batch in groups of equal requests; a ragged batch has several.
struct LayerShape {
  struct Group {
    std::int64_t requests = 1;
    std::int64_t new_tokens = 1;
    std::int64_t past = 0;
  };
  std::vector<Group> groups = {};
  kernels::KvRows::Format kv = kernels::KvRows::Format::kBf16;
  std::uint64_t seed = 1;  // of past tokens, x, and the selection of a layer without an indexer
  PassOptions pass = {};
};

enum class Launch {
  kEager,  // each kernel launched by itself: on a GPU the host's time shows where kernels are short
  kGraph,  // the pass recorded once and replayed; the same as eager on the CPU
};

// One layer over one batch with random past tokens, ready to run again and again: the one way in
// which layers are timed (`dsaperf run`, collection). Every call below is one sample or one replay;
// how many are taken and when to stop is the caller's.
//
//   auto layer = DsaLayer::create(backend, spec, weights);       // kept for many shapes
//   auto timer = LayerTimer::create(*layer, weights, shape, Launch::kGraph, 3);
//   for (...) samples.push_back((*timer)->cold()->value);
//
// Not thread-safe. The layer and its backend must outlive it.
class LayerTimer {
 public:
  // Passes above it have none launched before them that is not timed: a launch takes some 10 us on
  // an idle device, here under a five-hundredth.
  static constexpr double kLongPassUs = 5000;

  // Makes the past, prepares the pass, runs it `warmup` times, records it. On a GPU at least one
  // warm-up is needed, as libraries choose their kernels then. Fails with kInvalidArgument for
  // sizes that make no sense and with kOutOfMemory where they do not fit.
  static Result<std::unique_ptr<LayerTimer>> create(const DsaLayer& layer,
                                                    const LayerWeights& weights,
                                                    const LayerShape& shape, Launch launch,
                                                    int warmup);
  // The same over a pass that was prepared already, in a cache that outlives the timer and serves
  // others after it.
  // Of a list of stages, these alone are timed from then on: whole passes only warm up.
  static Result<std::unique_ptr<LayerTimer>> over(const DsaLayer& layer, CacheManager& cache,
                                                  ForwardPass pass, Launch launch, int warmup,
                                                  std::vector<model::Stage> only = {});
  LayerTimer(const LayerTimer&) = delete;
  LayerTimer& operator=(const LayerTimer&) = delete;
  ~LayerTimer() = default;

  // One pass that finds nothing of its data in the processor's caches.
  Result<Micros> cold();
  // `passes` back to back, right after one that is not timed; the time of one.
  Result<Micros> warm(int passes);
  // The stages of one pass, as pass().stages lists them, without the time that it takes to note a
  // time (on a GPU a microsecond or two). A stage that runs in parts (scores, top-k) is their sum.
  // Warm means that a pass ran before it. Their sum is less than the pass by the gaps between them.
  // Of a timer of some stages the others take no time, and warm means what they find in a layer
  // that runs again and again: between two runs of a stage goes through the caches what the layer
  // moves, layer_bytes().
  Result<std::vector<Micros>> cold_stages();
  Result<std::vector<Micros>> warm_stages();

  // One pass, not timed; done when this returns.
  Result<void> run();

  const DsaLayer& layer() const { return layer_; }
  ForwardPass& pass() { return pass_; }
  const ForwardPass& pass() const { return pass_; }
  CacheManager& cache() { return *cache_; }
  const CacheManager& cache() const { return *cache_; }
  Bytes activation_bytes() const;
  // Weights, tensors and rows of the caches that one pass touches, each once.
  Bytes layer_bytes() const;

 private:
  LayerTimer(const DsaLayer& layer, CacheManager* cache, ForwardPass pass, Launch launch,
             std::vector<model::Stage> only)
      : layer_(layer),
        cache_(cache),
        pass_(std::move(pass)),
        launch_(launch),
        only_(std::move(only)) {}

  class Stamps;

  Result<void> record();
  Result<void> enqueue();
  Result<void> launch_kernels(DsaLayer::Observer& observer);
  Result<void> launch_stamped();
  Result<std::vector<Micros>> stages();

  const DsaLayer& layer_;
  std::unique_ptr<CacheManager> owned_cache_ = {};  // of create()
  CacheManager* cache_;
  ForwardPass pass_;
  Launch launch_;
  std::vector<model::Stage> only_;          // empty: all
  bool long_passes_ = false;                // the last one took longer than launching it could show
  std::vector<model::Stage> stamped_ = {};  // the stage of each pair of stamps
  std::unique_ptr<Recording> replay_ = {};
  std::unique_ptr<Recording> replay_stages_ = {};
};

// For layers that share a selection: distinct positions of each token, evenly drawn from those
// visible to it, as many as topk allows, then -1. [visible.size(), topk]
std::vector<std::int32_t> random_selection(std::span<const std::int32_t> visible, int topk,
                                           std::uint64_t seed);

}  // namespace dsaperf::op
