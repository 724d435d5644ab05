#include "dsaperf/collect/case.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/split.hpp"

#include <initializer_list>
#include <numeric>

namespace dsaperf::collect {
namespace {

// The value among `candidates` that is spelled so.
template <typename Enum>
std::optional<Enum> named(std::string_view text, std::initializer_list<Enum> candidates) {
  for (const Enum candidate : candidates) {
    if (name(candidate) == text) return candidate;
  }
  return std::nullopt;
}

// "2x4096+0"
std::optional<cost::RequestGroup> group_from(std::string_view text) {
  const auto times = text.find('x');
  const auto plus = text.find('+');
  if (times == std::string_view::npos || plus == std::string_view::npos || plus < times) {
    return std::nullopt;
  }
  const auto count = parse_int(text.substr(0, times));
  const auto new_tokens = parse_int(text.substr(times + 1, plus - times - 1));
  const auto past = parse_int(text.substr(plus + 1));
  if (!count || !new_tokens || !past || *count < 1 || *new_tokens < 0 || *past < 0) {
    return std::nullopt;
  }
  return cost::RequestGroup{.count = *count, .new_tokens = *new_tokens, .past_tokens = *past};
}

// The text behind a prefix ("kv_bf16" -> "bf16"), or "" where the prefix is not there.
std::string_view behind(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : std::string_view();
}

}  // namespace

std::string_view name(ScoreDistribution distribution) {
  switch (distribution) {
    case ScoreDistribution::kModelLike:
      return "model_like";
    case ScoreDistribution::kFlat:
      return "flat";
    case ScoreDistribution::kPeaked:
      return "peaked";
  }
  return "unknown";
}

std::string_view name(Launch launch) {
  return launch == Launch::kGraph ? "graph" : "eager";
}

std::optional<ScoreDistribution> score_distribution_from(std::string_view text) {
  using enum ScoreDistribution;
  return named(text, {kModelLike, kFlat, kPeaked});
}
std::optional<Launch> launch_from(std::string_view text) {
  return named(text, {Launch::kGraph, Launch::kEager});
}
std::optional<model::KvFormat> kv_format_from(std::string_view text) {
  return named(text, {model::KvFormat::kBf16, model::KvFormat::kFp8});
}
// Formats that the kernels here multiply in.
std::optional<model::WeightFormat> weight_format_from(std::string_view text) {
  return named(text, {model::WeightFormat::kBf16, model::WeightFormat::kFp8Block});
}
std::optional<model::IndexerRole> indexer_role_from(std::string_view text) {
  return named(text, {model::IndexerRole::kFull, model::IndexerRole::kShared});
}
std::optional<perfdb::Phase> phase_from(std::string_view text) {
  return named(text, {perfdb::Phase::kContext, perfdb::Phase::kGeneration});
}

std::int64_t Case::batch() const {
  return std::accumulate(requests.begin(), requests.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& group) { return sum + group.count; });
}

std::int64_t Case::new_tokens() const {
  return std::accumulate(
      requests.begin(), requests.end(), std::int64_t{0},
      [](std::int64_t sum, const auto& group) { return sum + group.count * group.new_tokens; });
}

std::int64_t Case::context_tokens() const {
  return std::accumulate(requests.begin(), requests.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& group) {
                           return sum + group.count * (group.new_tokens + group.past_tokens);
                         });
}

cost::Shape Case::shape() const {
  return {.requests = requests,
          .heads = heads,
          .kv = kv,
          .dense = phase == perfdb::Phase::kContext ? cost::DenseAttention::kExpanded
                                                    : cost::DenseAttention::kAbsorbed};
}

std::string Case::shape_text() const {
  std::string text(perfdb::name(phase));
  char separator = '/';
  for (const auto& group : requests) {
    text += fmt::format("{}{}x{}+{}", separator, group.count, group.new_tokens, group.past_tokens);
    separator = ',';
  }
  return text;
}

std::string Case::id() const {
  if (product) {
    return fmt::format("gemm/m{}/n{}/k{}/gemm_{}/{}", product->m, product->n, product->k,
                       name(gemm), name(launch));
  }
  auto text = shape_text();
  text += fmt::format("/h{}/kv_{}/gemm_{}/{}/{}/{}", heads, name(kv), name(gemm), name(role),
                      name(scores), name(launch));
  char separator = ':';
  if (!stages.empty()) text += "/only";
  for (const auto stage : stages) {
    text += fmt::format("{}{}", separator, name(stage));
    separator = '+';
  }
  return text;
}

Result<Case> Case::from_id(std::string_view id) {
  const auto parts = split(id, '/');
  const auto bad = [&](std::size_t index) {
    return fail(Errc::kParse, "case id '{}': '{}' is not understood", id, parts[index]);
  };
  Case result;
  if (parts[0] == "gemm") {
    if (parts.size() != 6) {
      return fail(Errc::kParse, "case id '{}' has {} parts, not 6", id, parts.size());
    }
    const auto m = parse_int(behind(parts[1], "m"));
    if (!m || *m < 1) return bad(1);
    const auto n = parse_int(behind(parts[2], "n"));
    if (!n || *n < 1) return bad(2);
    const auto k = parse_int(behind(parts[3], "k"));
    if (!k || *k < 1) return bad(3);
    const auto format = weight_format_from(behind(parts[4], "gemm_"));
    if (!format) return bad(4);
    const auto launch = launch_from(parts[5]);
    if (!launch) return bad(5);
    result.product = GemmSizes{.m = *m, .n = *n, .k = *k};
    result.gemm = *format;
    result.launch = *launch;
    return result;
  }
  if (parts.size() != 8 && parts.size() != 9) {
    return fail(Errc::kParse, "case id '{}' has {} parts, not 8 or 9", id, parts.size());
  }
  const auto phase = phase_from(parts[0]);
  if (!phase) return bad(0);
  result.phase = *phase;
  for (const auto text : split(parts[1], ',')) {
    const auto group = group_from(text);
    if (!group) return bad(1);
    result.requests.push_back(*group);
  }
  const auto heads = parse_int(behind(parts[2], "h"));
  if (!heads || *heads < 1 || *heads > 4096) return bad(2);
  result.heads = static_cast<int>(*heads);
  const auto kv = kv_format_from(behind(parts[3], "kv_"));
  if (!kv) return bad(3);
  result.kv = *kv;
  const auto gemm = weight_format_from(behind(parts[4], "gemm_"));
  if (!gemm) return bad(4);
  result.gemm = *gemm;
  const auto role = indexer_role_from(parts[5]);
  if (!role) return bad(5);
  result.role = *role;
  const auto scores = score_distribution_from(parts[6]);
  if (!scores) return bad(6);
  result.scores = *scores;
  const auto launch = launch_from(parts[7]);
  if (!launch) return bad(7);
  result.launch = *launch;
  if (parts.size() == 8) return result;
  for (const auto text : split(behind(parts[8], "only:"), '+')) {
    const auto stage = model::stage_from_name(text);
    if (!stage) return bad(8);
    result.stages.push_back(*stage);
  }
  return result;
}

}  // namespace dsaperf::collect
