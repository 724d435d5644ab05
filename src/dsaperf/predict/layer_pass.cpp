#include "dsaperf/predict/layer_pass.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace dsaperf::predict {
namespace {

// total += weight * part, interval, source and warnings with it.
void add(LayerLatency& total, const LayerLatency& part, double weight) {
  const bool first = total.time.value == 0;
  const auto sum = [&](const std::optional<Micros>& a,
                       const std::optional<Micros>& b) -> std::optional<Micros> {
    if (!b || (!a && !first)) return std::nullopt;
    return Micros{(a ? a->value : 0) + weight * b->value};
  };
  total.low = sum(total.low, part.low);
  total.high = sum(total.high, part.high);
  total.time.value += weight * part.time.value;
  total.source = first ? part.source : std::max(total.source, part.source);
  total.warnings.add(part.warnings);
}

}  // namespace

Result<std::vector<RequestGroup>> parse_requests(std::string_view text) {
  std::vector<RequestGroup> groups;
  while (true) {
    const auto comma = text.find(',');
    const auto part = text.substr(0, comma);
    const auto times = part.find('x');
    const auto number = [](std::string_view digits) { return parse_int(digits).value_or(-1); };
    RequestGroup group{.count = -1};
    if (times != std::string_view::npos) {
      const auto lengths = part.substr(times + 1);
      const auto plus = lengths.find('+');
      group.count = number(part.substr(0, times));
      group.new_tokens = number(lengths.substr(0, plus));
      if (plus != std::string_view::npos) group.past_tokens = number(lengths.substr(plus + 1));
    }
    if (group.count < 1 || group.new_tokens < 1 || group.past_tokens < 0) {
      return fail(Errc::kInvalidArgument, "requests '{}': due COUNTxNEW or COUNTxNEW+PAST", part);
    }
    groups.push_back(group);
    if (comma == std::string_view::npos) return groups;
    text.remove_prefix(comma + 1);
  }
}

Result<LayerLatency> at_requests(LayerPredictor& predictor, const Tables& tables,
                                 const LayerKind& kind, const LayerShape& shape,
                                 const std::vector<RequestGroup>& requests) {
  if (requests.empty()) return fail(Errc::kInvalidArgument, "a pass without requests");
  std::int64_t batch = 0;
  std::int64_t longest = 0;
  for (const auto& group : requests) {
    if (group.count < 1) return fail(Errc::kInvalidArgument, "{} requests", group.count);
    batch += group.count;
    longest = std::max(longest, group.new_tokens + group.past_tokens);
  }
  const auto layer = predictor.layer(tables, kind);
  LayerLatency total;
  for (const auto& group : requests) {
    auto uniform = shape;
    uniform.batch = batch;
    uniform.new_tokens = group.new_tokens;
    uniform.past_tokens = group.past_tokens;
    uniform.longest_total = requests.size() > 1 ? longest : 0;
    DSAPERF_TRY_ASSIGN(const auto part, layer.at(uniform));
    add(total, part, static_cast<double>(group.count) / static_cast<double>(batch));
  }
  // No pass of unlike requests was measured.
  if (requests.size() > 1) total.source = std::max(total.source, Source::kInterpolated);
  return total;
}

Result<ChunkedPrefill> at_chunks(LayerPredictor& predictor, const Tables& tables,
                                 const LayerKind& kind, const LayerShape& shape,
                                 std::int64_t chunk_tokens) {
  if (chunk_tokens < 1 || shape.phase != perfdb::Phase::kContext) {
    return fail(Errc::kInvalidArgument, "chunks of {} tokens: a prefill's, of at least one token",
                chunk_tokens);
  }
  DSAPERF_TRY(check_shape(shape));
  constexpr std::int64_t kMostChunks = 1 << 16;
  const auto chunks = (shape.new_tokens - 1) / chunk_tokens + 1;
  if (chunks > kMostChunks) {
    return fail(Errc::kInvalidArgument, "{} tokens in chunks of {} are {} chunks, more than {}",
                shape.new_tokens, chunk_tokens, chunks, kMostChunks);
  }
  const auto layer = predictor.layer(tables, kind);
  ChunkedPrefill out;
  for (std::int64_t done = 0; done < shape.new_tokens;) {
    auto part = shape;
    part.new_tokens = std::min(chunk_tokens, shape.new_tokens - done);
    part.past_tokens = shape.past_tokens + done;
    DSAPERF_TRY_ASSIGN(auto latency, layer.at(part));
    add(out.total, latency, 1);
    out.chunks.push_back({.new_tokens = part.new_tokens,
                          .past_tokens = part.past_tokens,
                          .latency = std::move(latency)});
    done += part.new_tokens;
  }
  return out;
}

LayerShape after_cache_hit(LayerShape shape, std::int64_t cached_tokens) {
  const auto hit =
      std::clamp<std::int64_t>(cached_tokens, 0, std::max<std::int64_t>(shape.new_tokens - 1, 0));
  shape.new_tokens -= hit;
  shape.past_tokens += hit;
  return shape;
}

}  // namespace dsaperf::predict
