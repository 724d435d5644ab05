#include "dsaperf/collect/plan.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstddef>
#include <unordered_set>
#include <utility>

namespace dsaperf::collect {
namespace {

using perfdb::Phase;

constexpr std::int64_t kStandardLengths[] = {1,    16,   32,    64,    128,   256,
                                             512,  1024, 1536,  2048,  3072,  4096,
                                             6144, 8192, 10240, 12288, 16384, 32768};
constexpr std::int64_t kContextTokens = 65536;
// Of a file: lists of a megabyte multiply into more than any memory holds.
constexpr std::size_t kMostPoints = 10'000'000;
constexpr std::int64_t kCachedTokens = std::int64_t{1024} * 4096 * 2 * 2;

GridPoint uniform(Phase phase, std::int64_t batch, std::int64_t new_tokens, std::int64_t past) {
  return {phase, {{.count = batch, .new_tokens = new_tokens, .past_tokens = past}}};
}

// Points in the order of their first addition.
class DistinctPoints {
 public:
  DistinctPoints() : places_(0, Hash{&points_}, Same{&points_}) {}
  DistinctPoints(const DistinctPoints&) = delete;  // the set looks into its own list
  DistinctPoints& operator=(const DistinctPoints&) = delete;
  ~DistinctPoints() = default;

  void add(GridPoint point) {
    points_.push_back(std::move(point));
    if (!places_.insert(points_.size() - 1).second) points_.pop_back();
  }
  std::size_t size() const { return points_.size(); }
  std::vector<GridPoint> take() && { return std::move(points_); }

 private:
  struct Hash {
    const std::vector<GridPoint>* points;
    std::size_t operator()(std::size_t place) const {
      const auto& point = (*points)[place];
      auto hash = static_cast<std::size_t>(point.phase);
      constexpr std::size_t kOdd = 0x9e3779b97f4a7c15;  // 2^64 by the golden ratio
      const auto mix = [&](std::int64_t value) {
        hash = (hash ^ static_cast<std::size_t>(value)) * kOdd;
        hash ^= hash >> 32U;
      };
      for (const auto& group : point.requests) {
        mix(group.count);
        mix(group.new_tokens);
        mix(group.past_tokens);
      }
      return hash;
    }
  };
  struct Same {
    const std::vector<GridPoint>* points;
    bool operator()(std::size_t left, std::size_t right) const {
      const auto& one = (*points)[left];
      const auto& other = (*points)[right];
      return one.phase == other.phase &&
             std::ranges::equal(one.requests, other.requests, [](const auto& a, const auto& b) {
               return a.count == b.count && a.new_tokens == b.new_tokens &&
                      a.past_tokens == b.past_tokens;
             });
    }
  };

  std::vector<GridPoint> points_;
  std::unordered_set<std::size_t, Hash, Same> places_;
};

void add_standard(DistinctPoints& grid) {
  for (std::int64_t batch = 1; batch <= 256; batch *= 2) {
    for (const auto length : kStandardLengths) {
      if (batch * length <= kContextTokens) grid.add(uniform(Phase::kContext, batch, length, 0));
    }
  }
  for (std::int64_t batch = 1; batch <= 1024; batch *= 2) {
    for (std::int64_t past = 1; past <= 131071; past = 2 * past + 1) {
      if (batch * past <= kCachedTokens) grid.add(uniform(Phase::kGeneration, batch, 1, past));
    }
  }
}

std::string at(const YAML::Node& node, std::string_view what) {
  return fmt::format("line {}: {}", node.Mark().line + 1, what);
}

Result<std::vector<std::int64_t>> integers(const YAML::Node& entry, const char* key,
                                           std::int64_t least, std::vector<std::int64_t> absent) {
  const auto node = entry[key];
  if (!node) {
    if (absent.empty())
      return fail(Errc::kParse, "{}", at(entry, fmt::format("'{}' is missing", key)));
    return absent;
  }
  if (!node.IsSequence() || node.size() == 0) {
    return fail(Errc::kParse, "{}", at(node, fmt::format("'{}' must be a list of numbers", key)));
  }
  std::vector<std::int64_t> values;
  for (const auto& item : node) {
    std::int64_t value = 0;
    if (!YAML::convert<std::int64_t>::decode(item, value) || value < least) {
      return fail(Errc::kParse, "{}",
                  at(item, fmt::format("'{}' must be whole numbers from {} on", key, least)));
    }
    values.push_back(value);
  }
  return values;
}

Result<void> refuse_unknown_keys(const YAML::Node& map,
                                 std::initializer_list<std::string_view> known) {
  for (const auto& item : map) {
    const auto key = item.first.as<std::string>();
    if (std::ranges::find(known, key) == known.end()) {
      return fail(Errc::kParse, "{}",
                  at(item.first, fmt::format("'{}' is not known here (known: {})", key,
                                             fmt::join(known.begin(), known.end(), ", "))));
    }
  }
  return {};
}

Result<void> add_products(DistinctPoints& grid, const YAML::Node& list, Phase phase) {
  const bool context = phase == Phase::kContext;
  if (!list.IsSequence()) return fail(Errc::kParse, "{}", at(list, "expected a list of maps"));
  for (const auto& entry : list) {
    if (!entry.IsMap()) return fail(Errc::kParse, "{}", at(entry, "expected a map"));
    DSAPERF_TRY(context ? refuse_unknown_keys(entry, {"batch", "new", "past"})
                        : refuse_unknown_keys(entry, {"batch", "past", "q_len"}));
    DSAPERF_TRY_ASSIGN(const auto batches, integers(entry, "batch", 1, {}));
    DSAPERF_TRY_ASSIGN(const auto lengths,
                       context ? integers(entry, "new", 1, {}) : integers(entry, "q_len", 1, {1}));
    DSAPERF_TRY_ASSIGN(const auto pasts,
                       context ? integers(entry, "past", 0, {0}) : integers(entry, "past", 0, {}));
    const auto points = batches.size() * lengths.size() * pasts.size();
    if (grid.size() + points > kMostPoints) {
      return fail(Errc::kUnsupported, "{}",
                  at(entry, fmt::format("the grid would have {} points; at most {} are planned",
                                        grid.size() + points, kMostPoints)));
    }
    for (const auto batch : batches) {
      for (const auto length : lengths) {
        for (const auto past : pasts) grid.add(uniform(phase, batch, length, past));
      }
    }
  }
  return {};
}

Result<void> add_ragged(DistinctPoints& grid, const YAML::Node& list) {
  if (!list.IsSequence()) return fail(Errc::kParse, "{}", at(list, "expected a list of maps"));
  for (const auto& entry : list) {
    if (!entry.IsMap()) return fail(Errc::kParse, "{}", at(entry, "expected a map"));
    DSAPERF_TRY(refuse_unknown_keys(entry, {"phase", "requests"}));
    const auto phase = phase_from(entry["phase"] ? entry["phase"].as<std::string>("") : "");
    if (!phase) return fail(Errc::kParse, "{}", at(entry, "'phase' must be context or generation"));
    const auto requests = entry["requests"];
    if (!requests || !requests.IsSequence() || requests.size() == 0) {
      return fail(Errc::kParse, "{}",
                  at(entry, "'requests' must be a list such as [\"1x4096+0\"]"));
    }
    std::string groups;
    for (const auto& request : requests) {
      groups += (groups.empty() ? "" : ",") + request.as<std::string>("");
    }
    // The id's own syntax, so the file and the id read alike.
    auto parsed = Case::from_id(
        fmt::format("{}/{}/h1/kv_bf16/gemm_bf16/full/flat/graph", perfdb::name(*phase), groups));
    if (!parsed) {
      return fail(Errc::kParse, "{}",
                  at(requests, fmt::format("'{}' is not count x new + past", groups)));
    }
    grid.add({*phase, parsed->requests});
  }
  return {};
}

}  // namespace

std::vector<GridPoint> standard_grid() {
  DistinctPoints grid;
  add_standard(grid);
  return std::move(grid).take();
}

std::vector<GridPoint> deep_grid(int topk) {
  DistinctPoints grid;
  add_standard(grid);
  const std::int64_t k = topk;
  const std::int64_t prefixes[] = {1,     1024,  k - 1, k,      k + 1,  4096,   8192,
                                   16384, 32768, 65536, 131072, 262144, 1048576};
  for (const auto past : prefixes) {
    for (const std::int64_t length : {1, 64, 512, 2048, 4096, 8192}) {
      grid.add(uniform(Phase::kContext, 1, length, past));
    }
    grid.add(uniform(Phase::kContext, 8, 1024, past));
  }
  for (const auto total : {k - 1, k, k + 1}) {
    for (const std::int64_t batch : {1, 4, 16}) {
      grid.add(uniform(Phase::kContext, batch, total, 0));
      grid.add(uniform(Phase::kGeneration, batch, 1, total - 1));
    }
  }
  for (const std::int64_t q_len : {2, 3, 4}) {
    for (const std::int64_t batch : {1, 8, 32, 128}) {
      for (const std::int64_t past :
           {k - 1, std::int64_t{4095}, std::int64_t{32767}, std::int64_t{131071}}) {
        grid.add(uniform(Phase::kGeneration, batch, q_len, past));
      }
    }
  }
  // Ragged: lengths spread around a mean. Mixed: a prefill chunk beside running decodes.
  grid.add({Phase::kContext, {{1, 512, 0}, {1, 1024, 0}, {1, 2048, 0}, {1, 4608, 0}}});
  grid.add({Phase::kContext, {{1, 4096, 28672}, {2, 1024, 0}, {1, 2048, 8192}}});
  grid.add({Phase::kGeneration, {{16, 1, 1023}, {8, 1, 8191}, {4, 1, 32767}, {1, 1, 131071}}});
  for (const std::int64_t decodes : {8, 32, 128}) {
    grid.add({Phase::kContext, {{1, 2048, 0}, {decodes, 1, 4095}}});
    grid.add({Phase::kContext, {{1, 8192 - decodes, 8192}, {decodes, 1, 32767}}});
  }
  return std::move(grid).take();
}

Result<std::vector<GridPoint>> parse_grid(const std::string& yaml) {
  try {
    const auto root = YAML::Load(yaml);
    if (!root.IsMap()) {
      return fail(Errc::kParse, "a grid is a map with context, generation or ragged");
    }
    DSAPERF_TRY(refuse_unknown_keys(root, {"context", "generation", "ragged"}));
    DistinctPoints grid;
    if (root["context"]) DSAPERF_TRY(add_products(grid, root["context"], Phase::kContext));
    if (root["generation"]) DSAPERF_TRY(add_products(grid, root["generation"], Phase::kGeneration));
    if (root["ragged"]) DSAPERF_TRY(add_ragged(grid, root["ragged"]));
    if (grid.size() == 0) return fail(Errc::kParse, "the grid has no point");
    return std::move(grid).take();
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "line {}: {}", error.mark.line + 1, error.msg);
  }
}

Result<std::vector<GridPoint>> read_grid(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, Bytes{1 << 20}));
  return parse_grid(text).map_error(
      [&](Error error) { return std::move(error).with_context(path.native()); });
}

}  // namespace dsaperf::collect
