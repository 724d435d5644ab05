#include "dsaperf/cost/shape.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>

namespace dsaperf::cost {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 40;

// Sum of min(past + i, cap) for i in 1..n.
double capped_pairs(double past, double n, double cap) {
  const double below = std::clamp(cap - past, 0.0, n);  // tokens that see at most `cap`
  return past * below + below * (below + 1) / 2 + cap * (n - below);
}

}  // namespace

Shape Shape::prefill(std::int64_t batch, std::int64_t new_tokens, std::int64_t past_tokens,
                     int heads, model::KvFormat kv) {
  return {.requests = {{.count = batch, .new_tokens = new_tokens, .past_tokens = past_tokens}},
          .heads = heads,
          .kv = kv,
          .dense = DenseAttention::kExpanded};
}

Shape Shape::decode(std::int64_t batch, std::int64_t query_tokens, std::int64_t past_tokens,
                    int heads, model::KvFormat kv) {
  return {.requests = {{.count = batch, .new_tokens = query_tokens, .past_tokens = past_tokens}},
          .heads = heads,
          .kv = kv,
          .dense = DenseAttention::kAbsorbed};
}

Result<Work> work_of(const Shape& shape, int topk, int pool) {
  if (pool < 1) return fail(Errc::kInvalidArgument, "pool {} is not positive", pool);
  Work work;
  for (const RequestGroup& group : shape.requests) {
    if (group.count < 0 || group.new_tokens < 0 || group.past_tokens < 0 ||
        group.count > kLargest || group.new_tokens > kLargest || group.past_tokens > kLargest)
      return fail(Errc::kInvalidArgument, "requests: {} x {} new, {} past tokens is out of range",
                  group.count, group.new_tokens, group.past_tokens);
    if (group.count == 0 || group.new_tokens == 0) continue;
    const auto count = static_cast<double>(group.count);
    const auto fresh = static_cast<double>(group.new_tokens);
    const auto past = static_cast<double>(group.past_tokens);
    const double total = past + fresh;
    const double visible = past * fresh + fresh * (fresh + 1) / 2;

    work.requests += count;
    work.tokens += count * fresh;
    work.context_rows += count * total;
    if (topk == 0 || total <= topk) {
      work.dense_rows += count * total;
      work.dense_pairs += count * visible;
      work.distinct_rows += count * total;
      continue;
    }
    const double attended = capped_pairs(past, fresh, topk);
    work.selecting_tokens += count * fresh;
    work.sparse_pairs += count * attended;
    work.scored_pairs += count * visible / pool;
    work.scored_rows += count * total / pool;
    work.distinct_rows += count * std::min(attended, total);
  }
  return work;
}

}  // namespace dsaperf::cost
