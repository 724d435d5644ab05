#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/config.cuh"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Who scores what: all tiles of all groups stand in one line, each group preceded by a small cost
// for changing to it, and every CTA takes the same length of that line. So causal limits, ragged
// batches and single long rows are balanced alike, with no counters in memory and no host work.
namespace dsaperf::kernels::sm90 {

struct KeyRange {
  int begin;
  int end;
};

// A CTA's part of the line, and where the walk along it starts. A line is shorter than 2^31:
// the launch sees to it.
struct LinePart {
  int begin;
  int end;
  int at;  // position of `group` in the line
  int group;
};

// What row `row_of_request` of a request with this context sees.
__device__ inline RowLimits row_limits_of_request(const ScoresArguments& a, int context,
                                                  int row_of_request) {
  return {0, max(min(context - a.q_len + 1 + row_of_request, a.keys), 0)};
}

// What a row of prefill sees.
__device__ inline RowLimits limits_between(const ScoresArguments& a, int start, int end) {
  start = max(start, 0);
  return {start, max(min(end, a.keys) - start, 0)};
}

template <bool kPaged>
__device__ RowLimits row_limits(const ScoresArguments& a, int row) {
  if constexpr (kPaged) {
    const int request = row / a.q_len;
    return row_limits_of_request(a, a.context_length[request], row - request * a.q_len);
  } else {
    return limits_between(a, a.start[row], a.end[row]);
  }
}

template <class Config>
__device__ int group_first_row(const ScoresArguments& a, int group) {
  return group * (Config::kPaged ? a.q_len : Config::kGroupRows);
}

template <class Config>
__device__ int group_row_count(const ScoresArguments& a, int group) {
  return Config::kPaged ? a.q_len : min(Config::kGroupRows, a.rows - group * Config::kGroupRows);
}

// The rows of one group, spread over the lanes of a warp (or over a part of it).
template <class Config>
struct GroupLanes {
  static constexpr int kLanes = Config::kGroupRows < 32 ? Config::kGroupRows : 32;
  static constexpr int kRowsOfLane = Config::kGroupRows / kLanes;
};

// What one lane knows of a group: the limits of its rows.
template <class Config>
struct LaneLimits {
  RowLimits rows[GroupLanes<Config>::kRowsOfLane];
};

template <class Config>
__device__ LaneLimits<Config> load_limits(const ScoresArguments& a, int group, int lane_of_group) {
  LaneLimits<Config> limits;
  const int rows = group < a.groups ? group_row_count<Config>(a, group) : 0;
  [[maybe_unused]] int context = 0;
  if constexpr (Config::kPaged) context = rows == 0 ? 0 : a.context_length[group];
#pragma unroll
  for (int i = 0; i < GroupLanes<Config>::kRowsOfLane; ++i) {
    const int row = i * GroupLanes<Config>::kLanes + lane_of_group;
    if (row >= rows) {
      limits.rows[i] = {0, 0};
    } else if constexpr (Config::kPaged) {
      limits.rows[i] = row_limits_of_request(a, context, row);
    } else {
      limits.rows[i] = row_limits<false>(a, group_first_row<Config>(a, group) + row);
    }
  }
  return limits;
}

// No keys, and what includes others.
inline constexpr KeyRange kNoKeys{INT32_MAX, 0};

__device__ inline void include(KeyRange& range, const RowLimits& limits) {
  if (limits.length == 0) return;
  range.begin = min(range.begin, limits.start);
  range.end = max(range.end, limits.start + limits.length);
}

// The union of the ranges of kLanes neighbouring lanes, which call it together and all get the
// result, begun at a whole 32-byte sector of the scores.
template <int kLanes>
__device__ KeyRange union_over_lanes(KeyRange range) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    range.begin = min(range.begin, __shfl_xor_sync(~0u, range.begin, step));
    range.end = max(range.end, __shfl_xor_sync(~0u, range.end, step));
  }
  return range.end == 0 ? KeyRange{0, 0} : KeyRange{range.begin & ~7, range.end};
}

// The union of what the rows of a group see. The lanes of the group call it together.
template <class Config>
__device__ KeyRange union_of(const LaneLimits<Config>& limits) {
  KeyRange range = kNoKeys;
#pragma unroll
  for (const RowLimits& row : limits.rows) include(range, row);
  return union_over_lanes<GroupLanes<Config>::kLanes>(range);
}

template <class Config>
__device__ int tile_count(KeyRange range) {
  return (range.end - range.begin + Config::kTileKeys - 1) / Config::kTileKeys;
}

__device__ inline int cost_of(int tiles) {
  return tiles == 0 ? 0 : tiles + kGroupCost;
}

// Tiles of a request: its last row sees most.
template <class Config>
__device__ int tiles_of_request(const ScoresArguments& a, int context) {
  return tile_count<Config>({0, max(min(context, a.keys), 0)});
}

// Costs of groups in shared memory, so that lanes read runs of them without bank conflicts.
class GroupCosts {
 public:
  static constexpr int kSize = kMaxGroups + kMaxGroups / 32;

  __device__ explicit GroupCosts(std::int32_t* costs) : costs_(costs) {}
  __device__ std::int32_t& operator[](int group) const { return costs_[group + group / 32]; }

 private:
  std::int32_t* costs_;
};

// Of four neighbouring rows of prefill, one limit each; zeros behind the last row.
__device__ inline int4 four_of_rows(const ScoresArguments& a, const std::int32_t* limits,
                                    int first) {
  if (first + 4 <= a.rows && reinterpret_cast<std::uintptr_t>(limits) % 16 == 0)
    return *reinterpret_cast<const int4*>(limits + first);
  int4 four{};
  if (first < a.rows) four.x = limits[first];
  if (first + 1 < a.rows) four.y = limits[first + 1];
  if (first + 2 < a.rows) four.z = limits[first + 2];
  if (first + 3 < a.rows) four.w = limits[first + 3];
  return four;
}

// Costs of all groups; kBatch loads of a thread are in flight at once. All threads of the CTA call
// it, and a barrier comes before the costs are read.
template <class Config>
__device__ void compute_costs(const ScoresArguments& a, const GroupCosts& costs) {
  constexpr int kBatch = 4;
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (Config::kPaged) {
    for (int first = thread; first < a.groups; first += kBatch * Config::kThreads) {
      int contexts[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int group = first + i * Config::kThreads;
        contexts[i] = group < a.groups ? a.context_length[group] : 0;
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int group = first + i * Config::kThreads;
        if (group < a.groups) costs[group] = cost_of(tiles_of_request<Config>(a, contexts[i]));
      }
    }
  } else {
    constexpr int kLanes = Config::kGroupRows / 4;  // of a group, four rows each
    static_assert(kLanes >= 1 && kLanes <= 32);
    constexpr int kGroupsAtOnce = Config::kThreads / kLanes;
    for (int first = 0; first < a.groups; first += kBatch * kGroupsAtOnce) {
      int4 starts[kBatch], ends[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (first + i * kGroupsAtOnce >= a.groups) break;  // few groups are common, and a row waits
        const int row = 4 * ((first + i * kGroupsAtOnce) * kLanes + thread);
        starts[i] = four_of_rows(a, a.start, row);
        ends[i] = four_of_rows(a, a.end, row);
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (first + i * kGroupsAtOnce >= a.groups) break;
        KeyRange range = kNoKeys;
        include(range, limits_between(a, starts[i].x, ends[i].x));
        include(range, limits_between(a, starts[i].y, ends[i].y));
        include(range, limits_between(a, starts[i].z, ends[i].z));
        include(range, limits_between(a, starts[i].w, ends[i].w));
        const int cost = cost_of(tile_count<Config>(union_over_lanes<kLanes>(range)));
        const int group = first + i * kGroupsAtOnce + thread / kLanes;
        if (thread % kLanes == 0 && group < a.groups) costs[group] = cost;
      }
    }
  }
}

// Where part `part` of `parts` begins: they differ in length by one at most.
__device__ inline int share(int total, unsigned part, unsigned parts) {
  const unsigned each = static_cast<unsigned>(total) / parts;
  const unsigned longer = static_cast<unsigned>(total) - each * parts;
  return static_cast<int>(each * part + min(part, longer));
}

// The part that holds a position of the line.
__device__ inline int part_with(int position, int total, unsigned parts) {
  const unsigned each = static_cast<unsigned>(total) / parts;
  const unsigned longer = static_cast<unsigned>(total) - each * parts;
  const unsigned at = static_cast<unsigned>(position);
  const unsigned of_longer = longer * (each + 1);  // positions
  return static_cast<int>(at < of_longer ? at / (each + 1) : longer + (at - of_longer) / each);
}

// A CTA's part of the line, and which lane's groups it begins among, where each lane of a warp has
// a run of neighbouring groups.
struct PartOfRuns {
  LinePart part;  // without its group
  int lane;       // -1: there is no work
  int before;     // position at which the groups of this lane begin
};

// `own`: what the groups of a lane cost. One warp calls it.
__device__ inline PartOfRuns part_of_runs(int own) {
  const int through = static_cast<int>(warp_sum_through(static_cast<unsigned>(own)));
  const int total = __shfl_sync(~0u, through, 31);
  const int begin = share(total, blockIdx.x, gridDim.x);
  const int end = share(total, blockIdx.x + 1, gridDim.x);
  // The first lane whose groups end after the part begins.
  const std::uint32_t later = __ballot_sync(~0u, through > begin);
  return {
      {begin, end, 0, 0}, begin == end ? -1 : __ffs(static_cast<int>(later)) - 1, through - own};
}

// This CTA's part of the line; where there is no work, `group` is a.groups. One warp calls it.
__device__ inline LinePart part_from_costs(const ScoresArguments& a, const GroupCosts& costs) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int per_lane = (a.groups + 31) / 32;
  int own = 0;
#pragma unroll 4
  for (int group = lane * per_lane; group < min((lane + 1) * per_lane, a.groups); ++group)
    own += costs[group];
  PartOfRuns found = part_of_runs(own);
  LinePart& part = found.part;
  part.group = a.groups;
  if (found.lane < 0) return part;
  // All lanes look at the groups of the one.
  part.at = __shfl_sync(~0u, found.before, found.lane);
  for (int first = found.lane * per_lane;; first += 32) {
    const int group = first + lane;
    const int cost = group < a.groups ? costs[group] : 0;
    const int through = static_cast<int>(warp_sum_through(static_cast<unsigned>(cost)));
    const std::uint32_t later = __ballot_sync(~0u, part.at + through > part.begin);
    if (later != 0) {
      const int at = __ffs(static_cast<int>(later)) - 1;
      part.group = first + at;
      part.at += __shfl_sync(~0u, through - cost, at);
      return part;
    }
    part.at += __shfl_sync(~0u, through, 31);
  }
}

// The same for requests of decode, whose lengths need no shared memory: a lane has up to
// kGroupsOfLane of them, all loads in flight at once.
template <class Config, int kGroupsOfLane>
__device__ LinePart part_from_few_lengths(const ScoresArguments& a, int per_lane) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = lane * per_lane;
  const int count = min(a.groups - first, per_lane);
  const std::int32_t* contexts = a.context_length + first;
  int costs[kGroupsOfLane];
#pragma unroll
  for (int i = 0; i < kGroupsOfLane; ++i) costs[i] = i < count ? contexts[i] : 0;
#pragma unroll
  for (int& cost : costs) cost = cost_of(tiles_of_request<Config>(a, cost));
  int own = 0;
#pragma unroll
  for (const int cost : costs) own += cost;
  PartOfRuns found = part_of_runs(own);
  LinePart& part = found.part;
  part.group = a.groups;
  if (found.lane < 0) return part;
  int at = found.before;
  int group = first;
  bool ends_before = true;
#pragma unroll
  for (int i = 0; i < kGroupsOfLane - 1; ++i) {
    ends_before = ends_before && at + costs[i] <= part.begin;
    at += ends_before ? costs[i] : 0;
    group += ends_before ? 1 : 0;
  }
  part.group = __shfl_sync(~0u, group, found.lane);
  part.at = __shfl_sync(~0u, at, found.lane);
  return part;
}

// For at most kMaxEarlyGroups requests. Each load warp takes these steps before it knows its first
// page, so they are as few as the requests allow.
template <class Config>
__device__ LinePart part_from_lengths(const ScoresArguments& a) {
  static_assert(Config::kPaged && kMaxEarlyGroups == 8 * 32);
  const int per_lane = (a.groups + 31) / 32;
  if (per_lane == 1) return part_from_few_lengths<Config, 1>(a, per_lane);
  if (per_lane <= 4) return part_from_few_lengths<Config, 4>(a, per_lane);
  return part_from_few_lengths<Config, 8>(a, per_lane);
}

}  // namespace dsaperf::kernels::sm90
