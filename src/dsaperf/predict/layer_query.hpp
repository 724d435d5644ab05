#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict {

// Where a latency comes from, from the best to the weakest.
enum class Source {
  kMeasured,      // a row of a table
  kInterpolated,  // between rows
  kExtrapolated,  // beyond them
  kModelled,      // from a model of the stages, no row of this kind
  kBound,         // what the hardware could do at best
};
std::string_view name(Source source);

// Sizes of a layer that tables need not know.
struct LayerSizes {
  double hidden = 0, q_lora = 0, kv_lora = 0, nope = 0, rope = 0, v = 0;
  double topk = 0, index_dim = 0, index_heads = 0;
  bool operator==(const LayerSizes&) const = default;
};

// What aiconfigurator holds for an architecture; DeepSeek-V3.2's for a name it does not know.
LayerSizes known_sizes(std::string_view architecture);
bool has_known_sizes(std::string_view architecture);

// Tokens, requests and heads of a pass are no more than this.
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 30;

// What decides which rows can answer: the tables and the kind of layer.
struct LayerKind {
  std::string architecture;  // "DeepseekV32ForCausalLM"
  std::string kv_dtype = "fp8";
  std::string fmha_dtype = "bfloat16";
  std::string gemm_dtype = "fp8_block";
  // Of an architecture without rows; empty: those that aiconfigurator holds for the name. The
  // compatible method has no use for them.
  std::optional<LayerSizes> sizes = {};
  bool operator==(const LayerKind&) const = default;
};

// One pass of one DSA layer on one rank. Requests are alike: each has `new_tokens` query tokens
// after `past_tokens` cached ones.
struct LayerShape {
  perfdb::Phase phase = perfdb::Phase::kContext;
  std::int64_t heads = 0;  // of this rank
  std::int64_t batch = 1;
  std::int64_t new_tokens = 1;
  std::int64_t past_tokens = 0;
  // latency = share * layer with its own indexer + (1 - share) * layer that reuses the selection.
  double full_layer_share = 1;
  int context_parallel = 1;
  // What if the model had another topk or another number of index heads? 0: the architecture's own.
  // The stage model answers ("modelled"); the compatible method refuses.
  std::int64_t topk = 0;
  std::int64_t index_heads = 0;
  // Visible tokens of the longest request of the pass, where this is one of several kinds of
  // requests: kernels are chosen for all of them. 0: this one's own.
  std::int64_t longest_total = 0;
};

// Fails with kInvalidArgument for sizes that no pass has: below 1 (past_tokens: 0), beyond 2^30, a
// share that is none.
Result<void> check_shape(const LayerShape& shape);

// Sentences for people, each once. Copies share them: an answer that comes with the same ones as
// the answer before allocates nothing.
class Warnings {
 public:
  void add(std::string text);
  void add(const Warnings& others);

  bool empty() const { return texts_ == nullptr; }
  std::span<const std::string> all() const {
    return empty() ? std::span<const std::string>() : *texts_;
  }
  auto begin() const { return all().begin(); }
  auto end() const { return all().end(); }

 private:
  std::shared_ptr<const std::vector<std::string>> texts_;  // never empty
};

struct LayerLatency {
  Micros time;
  std::optional<Micros> low, high;  // 90 % interval, where the method states one
  Source source = Source::kBound;
  Warnings warnings;
};

}  // namespace dsaperf::predict
