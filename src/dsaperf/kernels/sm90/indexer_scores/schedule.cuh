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

// A CTA's part of the line, and where the walk along it starts.
struct LinePart {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t at;  // position of `group` in the line
  int group;
};

template <bool kPaged>
__device__ RowLimits row_limits(const ScoresArguments& a, int row) {
  int start = 0;
  int end = 0;
  if constexpr (kPaged) {
    const int group = row / a.q_len;
    end = a.context_length[group] - a.q_len + 1 + (row - group * a.q_len);
  } else {
    start = max(a.start[row], 0);
    end = a.end[row];
  }
  end = min(end, a.keys);
  return {start, max(end - start, 0)};
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
#pragma unroll
  for (int i = 0; i < GroupLanes<Config>::kRowsOfLane; ++i) {
    const int row = i * GroupLanes<Config>::kLanes + lane_of_group;
    limits.rows[i] = row < rows
                         ? row_limits<Config::kPaged>(a, group_first_row<Config>(a, group) + row)
                         : RowLimits{0, 0};
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
  for (int base = thread / kLanes; base - thread / kLanes < a.groups;
       base += kBatch * kGroupsAtOnce) {
    LaneLimits<Config> limits[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      limits[i] = load_limits<Config>(a, base + i * kGroupsAtOnce, thread % kLanes);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int cost = cost_of<Config>(tile_count<Config>(union_of<Config>(limits[i])));
      const int group = base + i * kGroupsAtOnce;
      if (thread % kLanes == 0 && group < a.groups) costs[group] = cost;
    }
  }
}

// total * part / parts; the division of 64-bit numbers is slow, and seldom needed.
__device__ inline std::int64_t share(std::int64_t total, unsigned part, unsigned parts) {
  const std::int64_t product = total * part;
  if (total * parts <= INT32_MAX) return static_cast<unsigned>(product) / parts;
  return product / parts;
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
  std::int64_t own = 0;
  for (int g = first; g < last; ++g) own += costs[g];
  std::int64_t before = own;
  for (int step = 1; step < 32; step *= 2) {
    const std::int64_t other = __shfl_up_sync(~0u, before, step);
    if (lane >= step) before += other;
  }
  if (lane == 31) shared.warp_cost[thread / 32] = before;
  before -= own;
  if (thread == 0) shared.first_group = a.groups;
  __syncthreads();
  std::int64_t total = 0;
  for (int w = 0; w < Config::kThreads / 32; ++w) {
    if (w == thread / 32) before += total;
    total += shared.warp_cost[w];
  }

  LinePart part{};
  part.begin = share(total, blockIdx.x, gridDim.x);
  part.end = share(total, blockIdx.x + 1, gridDim.x);
  if (part.begin < part.end && before <= part.begin && part.begin < before + own) {
    std::int64_t at = before;
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
// no work, `group` is a.groups.
template <class Config>
__device__ LinePart part_of_cta_by_a_warp(const ScoresArguments& a) {
  static_assert(Config::kPaged);
  constexpr int kGroupsOfLane = kMaxEarlyGroups / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int per_lane = (a.groups + 31) / 32;
  std::int32_t costs[kGroupsOfLane];
#pragma unroll
  for (int i = 0; i < kGroupsOfLane; ++i) {
    const int group = lane * per_lane + i;
    // The last row of a request sees most.
    const int seen = i < per_lane && group < a.groups ? min(a.context_length[group], a.keys) : 0;
    costs[i] = cost_of<Config>(tile_count<Config>({0, max(seen, 0)}));
  }
  std::int64_t own = 0;
#pragma unroll
  for (const std::int32_t cost : costs) own += cost;
  std::int64_t through = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const std::int64_t other = __shfl_up_sync(~0u, through, step);
    if (lane >= step) through += other;
  }
  const std::int64_t total = __shfl_sync(~0u, through, 31);
  LinePart part{};
  part.begin = share(total, blockIdx.x, gridDim.x);
  part.end = share(total, blockIdx.x + 1, gridDim.x);
  std::int64_t at = through - own;
  const bool mine = part.begin < part.end && at <= part.begin && part.begin < through;
  int group = lane * per_lane;
#pragma unroll
  for (int i = 0; i < kGroupsOfLane - 1; ++i) {
    if (part.begin >= at + costs[i]) {
      at += costs[i];
      ++group;
    } else {
      break;
    }
  }
  const std::uint32_t found = __ballot_sync(~0u, mine);
  const int lane_of_part = __ffs(static_cast<int>(found)) - 1;
  part.group = found == 0 ? a.groups : __shfl_sync(~0u, group, lane_of_part);
  part.at = found == 0 ? 0 : __shfl_sync(~0u, at, lane_of_part);
  return part;
}

}  // namespace dsaperf::kernels::sm90
