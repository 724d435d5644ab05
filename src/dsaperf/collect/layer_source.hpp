#pragma once

#include "dsaperf/collect/layer_arena.hpp"
#include "dsaperf/collect/sampling.hpp"
#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/op/backend.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::collect {

// What the card says of itself at one moment.
struct CardReading {
  int sm_mhz = 0;
  int memory_mhz = 0;
  bool clocks_locked = false;
  double power_w = 0;
  int temperature_c = 0;
  std::vector<std::string> throttle_reasons = {};
};
class CardReader {
 public:
  CardReader() = default;
  CardReader(const CardReader&) = delete;
  CardReader& operator=(const CardReader&) = delete;
  virtual ~CardReader() = default;
  virtual Result<CardReading> read() = 0;
};

// Sees which kernels some work runs.
class KernelWitness {
 public:
  KernelWitness() = default;
  KernelWitness(const KernelWitness&) = delete;
  KernelWitness& operator=(const KernelWitness&) = delete;
  virtual ~KernelWitness() = default;
  // Names as the profiler has them, in order of start; empty where it saw none.
  virtual Result<std::vector<std::string>> kernels_of(
      const std::function<Result<void>()>& work) = 0;
};

// Times layers on a backend: a GPU, or the CPU. docs/collect.md, "Timing", says
// how. Made for thousands of cases in one process: weights are made once for each combination of
// heads, formats, layer and score distribution, the caches once for each format, filled with random
// past tokens that every case takes its pages from.
//
// A case whose kernels are not what its stages need fails: a row says what ran. Products (
// Case::product) are timed in the same way; the weights of the last one are kept.
class LayerSource : public TimingSource {
 public:
  struct Options {
    // Of the caches: what the largest case of the plan needs, in pages of 64 tokens. A case that
    // needs more gets larger ones.
    std::int64_t cache_pages = 0;
    // Positions of past tokens that are distinct, index keys among them; longer caches repeat them.
    std::int64_t distinct_tokens = LayerArena::Options{}.distinct_tokens;
    Stopping stopping = {};
    int warmup = 1;  // passes before the recording, which runs the pass once more
    int stage_samples = kMostStageSamples;  // of a stage in a whole layer, fewer of long passes
    std::uint64_t seed = 1;
    std::string method = "graph-3";
    std::string version = {};  // of the program
    std::string driver = {};
    std::string device = {};  // empty: the backend's name for itself
  };

  // `reader` and `witness` may be null: then there is no card state, and no evidence (kernel_source
  // is the method's name).
  static Result<std::unique_ptr<LayerSource>> create(std::unique_ptr<op::Backend> backend,
                                                     SpecOfCase spec_of, Options options,
                                                     std::unique_ptr<CardReader> reader,
                                                     std::unique_ptr<KernelWitness> witness);
  ~LayerSource() override;

  const SourceInfo& info() const override;
  Result<Measurement> measure(const Case& what) override;

 private:
  struct State;
  explicit LayerSource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The kernels of a layer's stages by name, told apart as a trace's are (trace/rules.hpp). Fails
// with kInvalidArgument where a stage of attention or selection has no kernel of its own among
// `kernels` or where one runs that the case has no stage for.
struct Evidence {
  std::string kernel_source;  // the attention kernel
  std::string scores;
  std::string topk;
};
Result<Evidence> evidence_of(const std::vector<std::string>& kernels,
                             const std::vector<model::Stage>& stages);

// Of a product: the first kernel that multiplies. Fails with kInvalidArgument where none did.
Result<std::string> gemm_evidence_of(const std::vector<std::string>& kernels);

}  // namespace dsaperf::collect
