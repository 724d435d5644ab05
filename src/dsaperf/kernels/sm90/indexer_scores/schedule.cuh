#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/config.cuh"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"

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

template <bool kPaged>
__device__ RowLimits row_limits(const ScoresArguments& a, int row) {
  if constexpr (kPaged) {
    const int request = row / a.q_len;
    return row_limits_of_request(a, a.context_length[request], row - request * a.q_len);
  } else {
    const int start = max(a.start[row], 0);
    return {start, max(min(a.end[row], a.keys) - start, 0)};
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

// The union of what the rows of a group see, begun at a whole 32-byte sector of the scores. The
// lanes of the group call it together and all get the result.
template <class Config>
__device__ KeyRange union_of(const LaneLimits<Config>& limits) {
  KeyRange range{INT32_MAX, 0};
#pragma unroll
  for (int i = 0; i < GroupLanes<Config>::kRowsOfLane; ++i) {
    if (limits.rows[i].length == 0) continue;
    range.begin = min(range.begin, limits.rows[i].start);
    range.end = max(range.end, limits.rows[i].start + limits.rows[i].length);
  }
#pragma unroll
  for (int step = GroupLanes<Config>::kLanes / 2; step > 0; step /= 2) {
    range.begin = min(range.begin, __shfl_xor_sync(~0u, range.begin, step));
    range.end = max(range.end, __shfl_xor_sync(~0u, range.end, step));
  }
  return range.end == 0 ? KeyRange{0, 0} : KeyRange{range.begin & ~7, range.end};
}

template <class Config>
__device__ int tile_count(KeyRange range) {
  return (range.end - range.begin + Config::kTileKeys - 1) / Config::kTileKeys;
}

template <class Config>
__device__ int cost_of(int tiles) {
  return tiles == 0 ? 0 : tiles + Config::kGroupCost;
}

// Costs of all groups, to shared memory; the loads of several groups are in flight at once.
template <class Config>
__device__ void compute_costs(const ScoresArguments& a, std::int32_t* costs) {
  constexpr int kLanes = GroupLanes<Config>::kLanes;
  constexpr int kGroupsAtOnce = Config::kThreads / kLanes;
  constexpr int kBatch = 8 / GroupLanes<Config>::kRowsOfLane;
  const int thread = static_cast<int>(threadIdx.x);
  for (int first = 0; first < a.groups; first += kBatch * kGroupsAtOnce) {
    LaneLimits<Config> limits[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int group = first + i * kGroupsAtOnce + thread / kLanes;
      limits[i] = load_limits<Config>(a, group, thread % kLanes);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i * kGroupsAtOnce >= a.groups) break;  // few groups are common, and a row waits
      const int group = first + i * kGroupsAtOnce + thread / kLanes;
      const int cost = cost_of<Config>(tile_count<Config>(union_of<Config>(limits[i])));
      if (thread % kLanes == 0 && group < a.groups) costs[group] = cost;
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

// Called by all threads of the CTA; holds three block barriers.
template <class Config>
__device__ LinePart part_of_cta(const ScoresArguments& a, ScoresShared<Config>& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  // No key has been loaded yet, so their place holds the costs.
  auto* costs = reinterpret_cast<std::int32_t*>(&shared.k[0][0]);
  static_assert(sizeof(shared.k) >= sizeof(std::int32_t) * kMaxGroups);
  compute_costs<Config>(a, costs);
  __syncthreads();

  const int per_thread = (a.groups + Config::kThreads - 1) / Config::kThreads;
  const int first = min(thread * per_thread, a.groups);
  const int last = min(first + per_thread, a.groups);
  int own = 0;
  for (int g = first; g < last; ++g) own += costs[g];
  int before = own;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, before, step);
    if (lane >= step) before += other;
  }
  if (lane == 31) shared.warp_cost[thread / 32] = before;
  before -= own;
  if (thread == 0) shared.first_group = a.groups;
  __syncthreads();
  int total = 0;
  for (int w = 0; w < Config::kThreads / 32; ++w) {
    if (w == thread / 32) before += total;
    total += shared.warp_cost[w];
  }

  LinePart part{};
  part.begin = share(total, blockIdx.x, gridDim.x);
  part.end = share(total, blockIdx.x + 1, gridDim.x);
  if (part.begin < part.end && before <= part.begin && part.begin < before + own) {
    int at = before;
    for (int g = first; g < last; ++g) {
      if (part.begin < at + costs[g]) {
        shared.first_group = g;
        shared.first_group_at = at;
        break;
      }
      at += costs[g];
    }
  }
  ptx::fence_async_shared();  // the copy engine writes there next
  __syncthreads();
  part.group = shared.first_group;
  part.at = shared.first_group_at;
  return part;
}

// The same part for few requests of decode, found by one warp without shared memory: a lane has the
// lengths of up to kGroupsOfLane neighbouring requests, all loads in flight at once. Where there is
// no work, `group` is a.groups. Each load warp takes these steps before it knows its first page, so
// they are few.
template <class Config>
__device__ LinePart part_of_cta_by_a_warp(const ScoresArguments& a) {
  static_assert(Config::kPaged);
  constexpr int kGroupsOfLane = kMaxEarlyGroups / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int per_lane = (a.groups + 31) / 32;
  const int first = lane * per_lane;
  const int count = min(a.groups - first, per_lane);
  const std::int32_t* contexts = a.context_length + first;
  int costs[kGroupsOfLane];
#pragma unroll
  for (int i = 0; i < kGroupsOfLane; ++i) costs[i] = i < count ? contexts[i] : 0;
#pragma unroll
  for (int& cost : costs)  // the last row of a request sees most
    cost = cost_of<Config>(tile_count<Config>({0, max(min(cost, a.keys), 0)}));
  int own = 0;
#pragma unroll
  for (const int cost : costs) own += cost;
  int through = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, through, step);
    if (lane >= step) through += other;
  }
  const int total = __shfl_sync(~0u, through, 31);
  LinePart part{};
  part.begin = share(total, blockIdx.x, gridDim.x);
  part.end = share(total, blockIdx.x + 1, gridDim.x);
  // The first lane whose requests end after the part begins has its first one.
  const std::uint32_t later = __ballot_sync(~0u, through > part.begin);
  if (later == 0 || part.begin == part.end) {
    part.group = a.groups;
    return part;
  }
  int at = through - own;
  int group = first;
  bool ends_before = true;
#pragma unroll
  for (int i = 0; i < kGroupsOfLane - 1; ++i) {
    ends_before = ends_before && at + costs[i] <= part.begin;
    at += ends_before ? costs[i] : 0;
    group += ends_before ? 1 : 0;
  }
  const int lane_of_part = __ffs(static_cast<int>(later)) - 1;
  part.group = __shfl_sync(~0u, group, lane_of_part);
  part.at = __shfl_sync(~0u, at, lane_of_part);
  return part;
}

}  // namespace dsaperf::kernels::sm90
