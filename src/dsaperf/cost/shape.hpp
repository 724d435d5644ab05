#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <cstdint>
#include <vector>

namespace dsaperf::cost {

// `count` requests of the same sizes. A ragged batch is a list of these; a uniform one has one
// entry, so its cost does not depend on the batch.
struct RequestGroup {
  std::int64_t count = 1;
  std::int64_t new_tokens = 1;   // prefill: the chunk; decode: 1 + draft tokens
  std::int64_t past_tokens = 0;  // already in the cache
};

// How a request in the dense regime (past + new <= topk) runs its attention. Prefill kernels expand
// the latents to per-head keys and values of all its tokens; decode kernels never do.
enum class DenseAttention { kExpanded, kAbsorbed };

// What one rank runs in one pass through a layer.
struct Shape {
  std::vector<RequestGroup> requests;
  int heads = 0;  // query heads of this rank
  model::KvFormat kv = model::KvFormat::kBf16;
  DenseAttention dense = DenseAttention::kAbsorbed;

  static Shape prefill(std::int64_t batch, std::int64_t new_tokens, std::int64_t past_tokens,
                       int heads, model::KvFormat kv);
  static Shape decode(std::int64_t batch, std::int64_t query_tokens, std::int64_t past_tokens,
                      int heads, model::KvFormat kv);
};

// Pairs and rows of a batch, summed over requests, each in its own regime: never a mean length.
struct Work {
  double tokens = 0;            // new tokens
  double selecting_tokens = 0;  // of them in requests longer than topk
  double context_rows = 0;      // past + new of all requests
  double dense_rows = 0;        // of them in the dense regime
  double dense_pairs = 0;       // (token, attended token), dense regime: every visible token
  double sparse_pairs = 0;      // the same, sparse regime: min(visible, topk) a token
  double scored_pairs = 0;      // (token, visible index key), sparse regime
  double scored_rows = 0;       // index keys of the sparse requests
  double distinct_rows = 0;     // cache rows that must be read at least once
  double requests = 0;

  bool any_dense() const { return dense_rows > 0; }
  bool any_sparse() const { return selecting_tokens > 0; }
};

// `topk` 0: a layer without selection, everything is dense. `pool`: consecutive tokens that share
// one index key. Fails with kInvalidArgument for negative or absurd (over 2^40) sizes.
Result<Work> work_of(const Shape& shape, int topk, int pool);

}  // namespace dsaperf::cost
