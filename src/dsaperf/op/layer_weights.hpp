#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/layer_spec.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace dsaperf::op {

// What the index scores of a token look like, since the time of top-k depends on it. Weights make
// them, with the tokens that belong to these weights (new_tokens.hpp, past_tokens.hpp).
enum class ScoreDistribution {
  kNormal,  // spread out, few ties
  kFlat,    // close together: nearly the same key everywhere, leading bits agree
  kTied,    // one head speaks: after relu half of the scores are exactly zero
  kPeaked,  // the first topk positions of every request score clear above all others, of which half
            // are next to zero (peaked_scores.hpp)
};

std::string_view name(ScoreDistribution distribution);
std::optional<ScoreDistribution> score_distribution_from_name(std::string_view name);

// One projection as checkpoints store it: [rows, columns], y = x W^T.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::uint16_t> bf16 = {};  // the values; of an fp8 matrix, dequantised
  std::vector<std::uint8_t> fp8 = {};    // e4m3; empty unless stored so
  std::vector<float> scales = {};        // [ceil(rows / 128), ceil(columns / 128)] of fp8
};

// Weights of one rank, on the host.
struct LayerWeights {
  Matrix q_a;   // [q_lora, hidden]
  Matrix kv_a;  // [576, hidden]
  Matrix q_b;   // [heads * (nope + 64), q_lora]
  Matrix kv_b;  // [heads * (nope + v), 512]: W_UK, W_UV of a head after each other
  Matrix o;     // [hidden, heads * v]
  Matrix iq;    // [index_heads * 128, q_lora]; empty without an indexer, as the next two
  Matrix ik;    // [128, hidden]
  Matrix iw;    // [index_heads, hidden]
  std::vector<float> q_a_norm;   // [q_lora]
  std::vector<float> kv_a_norm;  // [512]
  std::vector<float> k_norm;     // [128], LayerNorm of index keys
  std::vector<float> k_norm_bias;
  ScoreDistribution scores = ScoreDistribution::kNormal;  // that random weights were made for
};

// Normal weights with variance 1 / columns, so that activations stay near 1 and attention scores
// spread by about 2. The same seed gives the same weights, whatever the number of threads.
LayerWeights random_weights(const LayerSpec& spec, std::uint64_t seed,
                            ScoreDistribution distribution);

// Stores a matrix as e4m3 with a scale per 128 x 128 block and replaces the bf16 values by what
// that gives. Used for every projection but W_w where the spec says fp8.
void quantise_blocks(Matrix& matrix);

}  // namespace dsaperf::op
