#pragma once

#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/serving/memory_model.hpp"

#include <optional>
#include <string>

namespace dsaperf::serving {

// What fits beside the weights on one GPU, counted exactly where it can be: weights by parameter
// and storage format, cache rows of every layer that has them, index keys of the layers that run an
// indexer, the draft layer where it is used. Activations and reserves are estimates.
struct Capacity {
  MemoryUse use;            // kv_cache: the whole budget, or what the load needs where that is less
  double score_buffer = 0;  // of activations: scores of a prefill chunk, f32
  double cache_bytes_per_token = 0;
  double cache_tokens = 0;    // that fit, of one scheduler (an attention rank and pipeline stage)
  double cache_requests = 0;  // of isl + osl each
  double card_bytes = 0;
  // With copies of the attention SGLang sets more aside for its CUDA graphs than many a card has
  // beside the weights, and does not start. Then it has to be told to capture graphs of so many
  // requests at most, halved until a request fits.
  std::optional<double> largest_graph;
  bool fits = false;   // one request, at least
  std::string reason;  // why not, and what would make it fit
};

struct CapacityLoad {
  double isl = 0, osl = 0;
  double chunk = 0;  // prefill tokens a step
  int draft_tokens = 0;
};

Capacity capacity(const model::ModelSpec& spec, const PassModel::Inputs& inputs,
                  const perfdb::SystemFile& system, const std::string& version,
                  const CapacityLoad& load, std::optional<double> memory_fraction);

// The prefill tokens of a step that an engine takes where nobody says: 8192, SGLang on cards of 160
// GiB and more 16384, shared by its copies of the attention.
double default_chunk(Engine engine, const Layout& layout, double card_bytes);

// The cache an engine takes where nobody says: SGLang bf16 on Hopper and fp8 on Blackwell, vLLM
// what the checkpoint asks for and else bf16 (its rows of 656 bytes, which DeepSeek-V3.2's first
// release took by itself, have to be asked for), TensorRT-LLM bf16 on Hopper (its kernel has no
// other).
std::string default_kv(Engine engine, int sm_version, const model::ModelSpec& spec);

// Heads that the sparse attention kernels compute at least.
double least_heads(int sm_version);

}  // namespace dsaperf::serving
