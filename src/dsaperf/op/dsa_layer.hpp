#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/forward_pass.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <functional>
#include <span>
#include <vector>

namespace dsaperf::op {

// One DSA attention layer of one rank on a backend: prefill, chunked prefill, decode and mixed
// batches alike, by what is in the cache. Where every
// request is at most topk tokens long it runs dense and writes index keys only.
//
//   auto layer = DsaLayer::create(backend, spec, weights);
//   auto pass = layer->prepare(cache, {{request, 512}}, x);     // makes room, plans, allocates
//   layer->run(*pass, cache);                                    // only computes
//
// Decoding again and again with one recording (on a GPU a CUDA graph), whose lengths change:
//
//   auto pass = layer->prepare(cache, requests, x, {}, {.longest = 32768});
//   layer->run(*pass, cache);                                    // sets up what first use needs
//   auto step = backend.record([&] { return layer->enqueue(*pass, cache); });
//   layer->advance(*pass, cache, next_x);  (*step)->replay();     // as often as wanted
//
// The backend must outlive layer and passes. Activations are bf16 between stages, as in serving.
class DsaLayer {
 public:
  // Fails with kInvalidArgument where spec and weights disagree.
  static Result<DsaLayer> create(Backend& backend, const LayerSpec& spec,
                                 const LayerWeights& weights);

  // x: [tokens, hidden] bf16 of all requests, one after the other. `selection`: [tokens, topk]
  // positions, for layers without an indexer. Either all requests have room in the cache or none
  // is appended to (kOutOfMemory).
  Result<ForwardPass> prepare(CacheManager& cache, std::span<const BatchRequest> requests,
                              std::span<const std::uint16_t> x,
                              std::span<const std::int32_t> selection = {},
                              const PassOptions& options = {}) const;

  // The next tokens of the same requests, as many of each as before, in the memory of a pass that
  // was prepared with `longest`: makes room in the cache and rewrites what the pass knows of
  // lengths. An empty x (or selection) leaves the values that are there. Fails with
  // kInvalidArgument where a request would be longer than `longest`, and then nothing has changed.
  Result<void> advance(ForwardPass& pass, CacheManager& cache, std::span<const std::uint16_t> x,
                       std::span<const std::int32_t> selection = {}) const;

  // From now on the scores of these tokens are copied aside as the pass runs (checks use them).
  // Before a recording is made, since it allocates.
  Result<void> keep_scores(ForwardPass& pass, std::span<const std::int64_t> tokens) const;
  // Brings them to pass.kept_scores; run() has done it.
  Result<void> fetch_scores(ForwardPass& pass) const;

  // A pass over some tokens of another one, from `from`'s memory, each as a request of its own over
  // the same pages: what a check by another backend runs. It writes the same slots again.
  Result<ForwardPass> subset(Backend& from, const ForwardPass& pass,
                             std::span<const std::int64_t> tokens) const;

  // Called around every stage; the default does nothing.
  struct Observer {
    virtual ~Observer() = default;
    virtual Result<void> before(model::Stage) { return {}; }
    virtual Result<void> after(model::Stage) { return {}; }
  };

  // Only launches: no allocation, no waiting, all work in the backend's order. The observer must do
  // the same if the pass is to be recorded.
  Result<void> enqueue(ForwardPass& pass, const CacheManager& cache) const;
  Result<void> enqueue(ForwardPass& pass, const CacheManager& cache, Observer& observer) const;

  // These stages alone, over what an earlier whole pass left in the tensors of the others; they
  // may run again and again. Scores and top-k go through one scratch, part by part: where either is
  // asked for, both run. Fails with kInvalidArgument for a stage that the pass does not have.
  Result<void> enqueue_only(ForwardPass& pass, const CacheManager& cache,
                            std::span<const model::Stage> stages, Observer& observer) const;
  // Whether enqueue_only(stages) runs `stage`.
  static bool runs_with(model::Stage stage, std::span<const model::Stage> stages);

  // enqueue(), then waits until it is done.
  Result<void> run(ForwardPass& pass, const CacheManager& cache) const;
  Result<void> run(ForwardPass& pass, const CacheManager& cache, Observer& observer) const;

  // What one pass reads of the weights.
  Bytes weight_bytes() const;

  const LayerSpec& spec() const { return spec_; }
  Backend& backend() const { return *backend_; }

  // A projection in the backend's memory, with a scratch for quantised activations.
  struct Projection {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    Buffer bf16 = {};
    Buffer fp8 = {};
    Buffer scales = {};
  };

 private:
  friend class StageRunner;

  DsaLayer(Backend& backend, const LayerSpec& spec) : backend_(&backend), spec_(spec) {}

  Backend* backend_;
  LayerSpec spec_;
  // Whether any projection takes e4m3 activations.
  bool quantises() const;

  // qkv_a_: W_qa, W_ik and W_kva in one, as LayerSpec::QkvAColumns says.
  Projection qkv_a_, q_b_, kv_b_, o_, iq_, iw_;
  Buffer q_a_norm_, kv_a_norm_, k_norm_, k_norm_bias_;
};

}  // namespace dsaperf::op
