#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/layer_plan.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/layer_query.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <compare>
#include <cstddef>
#include <string_view>

namespace dsaperf::predict::stages {

// Every request of a pass has at most topk visible tokens (dense), or more (sparse). Other kernels
// run, so nothing is carried from one to the other.
enum class Regime { kDense, kSparse };
std::string_view name(Regime regime);

// Sizes of one pass as the terms need them.
inline constexpr std::size_t kSizeAxes = 4;
struct Sizes {
  double heads = 0, batch = 0, new_tokens = 0, past_tokens = 0;
  double total() const { return new_tokens + past_tokens; }
  double tokens() const { return batch * new_tokens; }
  // In the order in which everything counts axes.
  std::array<double, kSizeAxes> axes() const { return {heads, batch, new_tokens, past_tokens}; }
};

// All passes that share one value of an axis.
struct Slice {
  std::size_t axis = 0;
  double value = 0;
  bool holds(const Sizes& sizes) const { return sizes.axes()[axis] == value; }
  auto operator<=>(const Slice&) const = default;
};

// The least and the largest value of each axis among some passes.
struct Extent {
  Sizes low{.heads = INFINITY, .batch = INFINITY, .new_tokens = INFINITY, .past_tokens = INFINITY};
  Sizes high;

  void widen(const Sizes& z) {
    low = {.heads = std::min(low.heads, z.heads),
           .batch = std::min(low.batch, z.batch),
           .new_tokens = std::min(low.new_tokens, z.new_tokens),
           .past_tokens = std::min(low.past_tokens, z.past_tokens)};
    high = {.heads = std::max(high.heads, z.heads),
            .batch = std::max(high.batch, z.batch),
            .new_tokens = std::max(high.new_tokens, z.new_tokens),
            .past_tokens = std::max(high.past_tokens, z.past_tokens)};
  }
  bool holds(const Sizes& z) const {
    return z.heads >= low.heads && z.heads <= high.heads && z.batch >= low.batch &&
           z.batch <= high.batch && z.new_tokens >= low.new_tokens &&
           z.new_tokens <= high.new_tokens && z.past_tokens >= low.past_tokens &&
           z.past_tokens <= high.past_tokens;
  }
};

// A measured pass.
struct Observation {
  Sizes sizes;
  double latency_ms = 0;
};

// What a layer is made of and what it runs on, fixed for one part of a table.
struct Setting {
  // Of the model; defaults are DeepSeek-V3.2's.
  double hidden = 7168, q_lora = 1536, kv_lora = 512, nope = 128, rope = 64, v = 128;
  double topk = 2048, index_heads = 64, index_dim = 128;
  bool own_indexer = true;
  model::WeightFormat weights = model::WeightFormat::kFp8Block;  // of the projections
  double weight_bytes = 1;
  bool fp8_cache = true;
  double kv_row_bytes = 656;
  // Of the card, per millisecond.
  double gemm_flops = 0, bf16_flops = 0, fp8_flops = 0, bytes = 0;
  // What prefill's gathers and top-k read: a batch's rows are gathered by every token, and stay in
  // the L2 cache. Its rate goes with the multiprocessors, not with the memory behind it.
  double l2_bytes = 0;
  double padded_heads = 64;  // what the sparse kernels compute at least
  double sms = 132;          // multiprocessors: blocks beyond them wait for the next wave
  double host_launch = 1;    // of its host, relative to the host of the rows that answer

  perfdb::Phase phase = perfdb::Phase::kContext;
  Regime regime = Regime::kDense;
  // Frameworks replay decode as a graph up to some batch and launch every kernel beyond it: another
  // regime, bound by the host. Batches that are launched as the part's rows are.
  double batch_from = 1;
  double batch_to = INFINITY;
  // Whether the table goes on with fewer and with more heads than the part has, by other kernels.
  bool fewer_heads = false, more_heads = false;
  bool operator==(const Setting&) const = default;
};

// Of projections, by what aiconfigurator calls them in its tables; bf16 for a name that it has not.
model::WeightFormat weight_format(std::string_view dtype);

// Fails where the system's file lacks a rate that the kind needs.
Result<Setting> make_setting(const perfdb::SystemFile& system, const LayerKind& kind,
                             perfdb::Phase phase, Regime regime, bool own_indexer);

}  // namespace dsaperf::predict::stages
