#include "dsaperf/predict/stages/part_table.hpp"

#include "dsaperf/perfdb/lint.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"
#include "dsaperf/predict/stages/host_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 29);
}

std::uint64_t mixed(std::uint64_t hash, std::string_view text) {
  for (const char c : text) hash = mixed(hash, static_cast<unsigned char>(c));
  return mixed(hash, text.size());
}

std::uint64_t hash_of(const Part& part) {
  // Format of this hash by phase and regime: raised where terms or fit change, so that what was
  // fitted before is fitted again.
  const bool decode = part.setting.phase == Phase::kGeneration;
  std::uint64_t hash = !decode ? 0x5D66 : part.setting.regime == Regime::kDense ? 0x5D67 : 0x5D65;
  for (const auto& text : {part.kind.architecture, part.kind.kv_dtype, part.kind.fmha_dtype,
                           part.kind.gemm_dtype, part.kernel_source}) {
    hash = mixed(hash, text);
  }
  hash = mixed(hash, part.shares_selection ? 1 : 0);
  hash = mixed(hash, static_cast<std::uint64_t>(part.setting.phase) * 2 +
                         static_cast<std::uint64_t>(part.setting.regime));
  hash = mixed(hash, std::bit_cast<std::uint64_t>(part.setting.bytes));
  if (part.setting.fewer_heads || part.setting.more_heads)
    hash = mixed(hash, (part.setting.fewer_heads ? 1U : 0U) + (part.setting.more_heads ? 2U : 0U));
  for (const auto& o : part.observations) {
    for (const double value :
         {o.sizes.heads, o.sizes.batch, o.sizes.new_tokens, o.sizes.past_tokens, o.latency_ms}) {
      hash = mixed(hash, std::bit_cast<std::uint64_t>(value));
    }
  }
  return hash;
}

// Sizes in the order of their weight; whole numbers below 2^31.
using Key = std::array<std::uint32_t, 4>;
Key key_of(const Sizes& z) {
  return {static_cast<std::uint32_t>(z.heads), static_cast<std::uint32_t>(z.batch),
          static_cast<std::uint32_t>(z.new_tokens), static_cast<std::uint32_t>(z.past_tokens)};
}

struct Place {
  Key key;
  std::uint32_t index;
};

// Byte by byte from the least, each time stable: sorting by comparisons was a sixth of the time to
// load a table. Sizes fill 9 bytes of 16, the others are passed over.
void sort_places(std::vector<Place>& places) {
  constexpr std::size_t kValues = 256;
  std::vector<Place> next(places.size());
  for (std::size_t axis = Key().size(); axis-- > 0;) {
    for (std::uint32_t shift = 0; shift < 32; shift += 8) {
      const auto value = [&](const Place& p) { return p.key[axis] >> shift & (kValues - 1); };
      std::array<std::uint32_t, kValues> begin{};
      for (const auto& p : places) ++begin[value(p)];
      if (places.empty() || begin[value(places.front())] == places.size()) continue;
      std::exclusive_scan(begin.begin(), begin.end(), begin.begin(), 0U);
      for (const auto& p : places) next[begin[value(p)]++] = p;
      places.swap(next);
    }
  }
}

// Sorted by sizes; of equal ones the last that came counts.
void sort_unique(std::vector<Observation>& observations) {
  std::vector<Place> places;
  places.reserve(observations.size());
  for (const auto& o : observations)
    places.push_back({.key = key_of(o.sizes), .index = static_cast<std::uint32_t>(places.size())});
  sort_places(places);
  std::vector<Observation> sorted;
  sorted.reserve(observations.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (i + 1 == places.size() || places[i].key != places[i + 1].key)
      sorted.push_back(observations[places[i].index]);
  }
  observations = std::move(sorted);
}

// The batch from which latencies jump by more than 1.4 times what the batch grows: the same sizes
// otherwise, most rows agreeing. 0: nowhere.
double launch_step(const std::vector<Observation>& observations) {
  constexpr double kJump = 1.4;
  std::map<std::tuple<double, double, double>, std::vector<std::pair<double, double>>> by_rest;
  for (const auto& o : observations) {
    by_rest[{o.sizes.heads, o.sizes.new_tokens, o.sizes.past_tokens}].emplace_back(o.sizes.batch,
                                                                                   o.latency_ms);
  }
  std::map<double, std::pair<int, int>> votes;  // upper batch -> (jumps, pairs)
  for (auto& [rest, curve] : by_rest) {
    std::sort(curve.begin(), curve.end());
    for (std::size_t i = 1; i < curve.size(); ++i) {
      auto& [jumps, all] = votes[curve[i].first];
      ++all;
      const double growth = curve[i].first / curve[i - 1].first;
      if (curve[i].second / curve[i - 1].second > kJump * growth) ++jumps;
    }
  }
  for (const auto& [batch, vote] : votes) {
    if (vote.second >= 4 && 2 * vote.first > vote.second) return batch;
  }
  return 0;
}

// The step of every decode part, 0 where there is none. Graphs end at the same batch for all kinds
// of layers, so that a part whose kernels alone take as long, and where few rows jump, has the step
// of the others.
std::vector<double> launch_steps(const std::vector<Part>& parts) {
  std::vector<double> steps(parts.size());
  std::map<std::int32_t, double> of_source;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].setting.phase != Phase::kGeneration) continue;
    steps[i] = launch_step(parts[i].observations);
    if (steps[i] == 0) continue;
    auto& least = of_source.try_emplace(parts[i].source, steps[i]).first->second;
    least = std::min(least, steps[i]);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto others = of_source.find(parts[i].source);
    if (steps[i] == 0 && others != of_source.end()) steps[i] = others->second;
  }
  return steps;
}

// Splits decode parts where their framework stops replaying graphs.
void split_by_launch(std::vector<Part>& parts) {
  const auto steps = launch_steps(parts);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i] == 0) continue;
    Part eager = parts[i];
    std::erase_if(eager.observations,
                  [&](const Observation& o) { return o.sizes.batch < steps[i]; });
    Part replayed = parts[i];
    std::erase_if(replayed.observations,
                  [&](const Observation& o) { return o.sizes.batch >= steps[i]; });
    if (replayed.observations.empty() || eager.observations.empty()) continue;
    double largest = 0;
    for (const auto& o : replayed.observations) largest = std::max(largest, o.sizes.batch);
    replayed.setting.batch_to = largest;
    eager.setting.batch_from = largest + 1;
    parts[i] = std::move(replayed);
    parts.push_back(std::move(eager));
  }
}

// Notes where other parts of a kind have heads beyond those of a part. Rows are sorted by heads.
void find_other_heads(std::vector<Part>& parts) {
  for (auto& part : parts) {
    const auto& own = part.observations;
    for (const auto& other : parts) {
      if (other.source != part.source || other.shares_selection != part.shares_selection ||
          !(other.kind == part.kind))
        continue;
      const auto& rows = other.observations;
      if (rows.front().sizes.heads < own.front().sizes.heads) part.setting.fewer_heads = true;
      if (rows.back().sizes.heads > own.back().sizes.heads) part.setting.more_heads = true;
    }
  }
}

// Rows of a part that is launched kernel by kernel which take longer than their kernels can: those
// of the largest batch that is replayed take no more than its latency, times what the batch grows.
std::vector<double> waiting_rows(const std::vector<Part>& parts, const Part& eager) {
  constexpr double kWaited = 1.5;  // the host's part is then 95 % (with_host_time)
  std::vector<double> waiting;
  for (const auto& part : parts) {
    const auto& s = part.setting;
    if (s.batch_to != eager.setting.batch_from - 1 || s.regime != eager.setting.regime ||
        part.source != eager.source || !(part.kind == eager.kind) ||
        part.shares_selection != eager.shares_selection ||
        part.kernel_source != eager.kernel_source)
      continue;
    std::map<std::pair<double, double>, double> largest;
    for (const auto& o : part.observations) {
      if (o.sizes.batch == s.batch_to) largest[{o.sizes.heads, o.sizes.past_tokens}] = o.latency_ms;
    }
    for (const auto& o : eager.observations) {
      const auto found = largest.find({o.sizes.heads, o.sizes.past_tokens});
      if (found != largest.end() &&
          o.latency_ms > kWaited * found->second * o.sizes.batch / s.batch_to)
        waiting.push_back(o.latency_ms);
    }
  }
  return waiting;
}

// Every part's own, then for those that have none the least of the others, if their rows do not
// contradict it.
void find_host_floors(std::vector<Part>& parts) {
  constexpr double kBelow = 0.05;  // share of rows that may be shorter
  std::vector<double> own(parts.size());
  for (std::size_t p = 0; p < parts.size(); ++p) {
    own[p] = host_floor(parts[p].setting, parts[p].observations);
    if (own[p] == 0 && parts[p].setting.batch_from > 1)
      own[p] = common_latency(waiting_rows(parts, parts[p]));
  }
  for (std::size_t p = 0; p < parts.size(); ++p) {
    auto& part = parts[p];
    part.host_floor_ms = own[p];
    if (own[p] > 0 || part.setting.phase != Phase::kContext) continue;
    double of_kind = INFINITY;
    double of_any = INFINITY;
    for (std::size_t o = 0; o < parts.size(); ++o) {
      if (own[o] <= 0 || parts[o].source != part.source) continue;
      of_any = std::min(of_any, own[o]);
      if (parts[o].kind == part.kind) of_kind = std::min(of_kind, own[o]);
    }
    const double floor = std::isfinite(of_kind) ? of_kind : of_any;
    const auto shorter = std::count_if(part.observations.begin(), part.observations.end(),
                                       [&](const Observation& r) { return r.latency_ms < floor; });
    if (std::isfinite(floor) &&
        static_cast<double>(shorter) <= kBelow * static_cast<double>(part.observations.size()))
      part.host_floor_ms = floor;
  }
}

void find_defects(std::vector<Part>& parts, const perfdb::DsaTable& table,
                  std::string_view backend) {
  constexpr double kWorthMentioning = 0.05;
  const perfdb::LintPhysics physics{
      .topk =
          [](const perfdb::DsaSlice& slice) {
            return static_cast<int>(compatible::dsa_dims(slice.architecture).topk);
          },
      .bound = [](const auto&, Phase, const auto&) { return std::optional<Micros>(); }};
  std::map<std::pair<std::size_t, perfdb::LintRule>, std::size_t> counts;
  for (const auto& finding : perfdb::lint(table, physics)) {
    if (perfdb::is_note(finding.rule) || finding.rule == perfdb::LintRule::kRepeatedKey) continue;
    for (const auto index : finding.rows) {
      const auto& row = table.rows[index];
      const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
      const double total =
          row.new_tokens + real_past(backend, table.phase, static_cast<double>(row.past_tokens));
      const auto regime =
          total <= compatible::dsa_dims(slice.architecture).topk ? Regime::kDense : Regime::kSparse;
      const LayerKind kind{.architecture = slice.architecture,
                           .kv_dtype = slice.kv_dtype,
                           .fmha_dtype = slice.mla_dtype,
                           .gemm_dtype = slice.gemm_dtype};
      for (std::size_t p = 0; p < parts.size(); ++p) {
        const auto& part = parts[p];
        if (part.source == row.source && part.setting.regime == regime &&
            part.shares_selection == slice.shares_selection &&
            perfdb::unmarked_kernel(part.kernel_source) ==
                perfdb::unmarked_kernel(slice.kernel_source) &&
            part.kind == kind && row.batch >= part.setting.batch_from &&
            row.batch <= part.setting.batch_to) {
          ++counts[{p, finding.rule}];
          break;
        }
      }
    }
  }
  for (const auto& [key, count] : counts) {
    auto& part = parts[key.first];
    if (static_cast<double>(count) <
        kWorthMentioning * static_cast<double>(part.observations.size()))
      continue;
    part.defects += fmt::format("{}{} {} of {} rows", part.defects.empty() ? "" : "; ",
                                perfdb::name(key.second), count, part.observations.size());
  }
}

}  // namespace

double real_past(std::string_view backend, Phase phase, double past_tokens) {
  return phase == Phase::kGeneration && backend == "vllm" ? std::max(past_tokens - 1, 0.0)
                                                          : past_tokens;
}

Result<std::vector<Part>> parts_of(const perfdb::DsaTable& table, const perfdb::SystemFile& system,
                                   std::string_view backend) {
  const auto kind_of = [](const perfdb::DsaSlice& slice) {
    return LayerKind{.architecture = slice.architecture,
                     .kv_dtype = slice.kv_dtype,
                     .fmha_dtype = slice.mla_dtype,
                     .gemm_dtype = slice.gemm_dtype};
  };
  const auto kind_key = [](const perfdb::DsaSlice& s) {
    return std::tuple(s.architecture, s.kv_dtype, s.mla_dtype, s.gemm_dtype, s.shares_selection);
  };
  // The first source that has a kind.
  std::map<decltype(kind_key(table.slices.front())), std::int32_t> source_of;
  std::vector<std::vector<bool>> seen(table.slices.size(),
                                      std::vector<bool>(table.sources.size(), false));
  for (const auto& row : table.rows)
    seen[static_cast<std::size_t>(row.slice)][static_cast<std::size_t>(row.source)] = true;
  for (std::size_t s = 0; s < table.slices.size(); ++s) {
    for (std::size_t i = 0; i < table.sources.size(); ++i) {
      if (!seen[s][i]) continue;
      const auto [found, is_new] =
          source_of.try_emplace(kind_key(table.slices[s]), static_cast<std::int32_t>(i));
      if (!is_new) found->second = std::min(found->second, static_cast<std::int32_t>(i));
    }
  }
  std::vector<std::int32_t> wanted_source(table.slices.size(), -1);
  for (std::size_t s = 0; s < table.slices.size(); ++s)
    wanted_source[s] = source_of[kind_key(table.slices[s])];

  std::vector<Part> parts;
  std::map<std::tuple<std::int32_t, std::string, Regime>, std::size_t>
      part_of;  // by kind (first slice), kernel, regime
  std::map<decltype(kind_key(table.slices.front())), std::int32_t> kind_number;
  std::vector<std::array<std::int64_t, 2>> part_of_slice(table.slices.size(), {-1, -1});
  for (const auto& row : table.rows) {
    const auto s = static_cast<std::size_t>(row.slice);
    if (row.source != wanted_source[s]) continue;
    const double latency = row.latency.millis();
    if (!(latency > 0) || !std::isfinite(latency) || row.heads < 1 || row.batch < 1 ||
        row.new_tokens < 1)
      continue;
    const Sizes sizes{.heads = static_cast<double>(row.heads),
                      .batch = static_cast<double>(row.batch),
                      .new_tokens = static_cast<double>(row.new_tokens),
                      .past_tokens = real_past(backend, table.phase, row.past_tokens)};
    const auto& slice = table.slices[s];
    const auto regime = sizes.total() <= compatible::dsa_dims(slice.architecture).topk
                            ? Regime::kDense
                            : Regime::kSparse;
    auto& index = part_of_slice[s][static_cast<std::size_t>(regime)];
    if (index < 0) {
      const auto number =
          kind_number.try_emplace(kind_key(slice), static_cast<std::int32_t>(kind_number.size()))
              .first->second;
      const auto [found, is_new] = part_of.try_emplace(
          std::tuple(number, std::string(perfdb::unmarked_kernel(slice.kernel_source)), regime),
          parts.size());
      index = static_cast<std::int64_t>(found->second);
      if (is_new) {
        Part part;
        part.kind = kind_of(slice);
        part.shares_selection = slice.shares_selection;
        part.kernel_source = slice.kernel_source;
        part.source = row.source;
        DSAPERF_TRY_ASSIGN(part.setting, make_setting(system, part.kind, table.phase, regime,
                                                      !slice.shares_selection));
        parts.push_back(std::move(part));
      }
    }
    auto& part = parts[static_cast<std::size_t>(index)];
    // Sums of stages and whole layers of one kernel are one part, which says that it has sums.
    if (perfdb::is_composed(slice.kernel_source)) part.kernel_source = slice.kernel_source;
    part.observations.push_back({.sizes = sizes, .latency_ms = latency});
  }
  for (auto& part : parts) sort_unique(part.observations);
  split_by_launch(parts);
  find_other_heads(parts);
  for (auto& part : parts) part.hash = hash_of(part);
  return parts;
}

void look_at_rows(std::vector<Part>& parts, const perfdb::DsaTable& table,
                  std::string_view backend) {
  find_defects(parts, table, backend);
  find_host_floors(parts);
}

}  // namespace dsaperf::predict::stages
