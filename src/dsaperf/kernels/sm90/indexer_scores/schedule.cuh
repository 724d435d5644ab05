#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/config.cuh"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"

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

// The union of what the rows of a group see, begun at a whole 32-byte sector of the scores.
template <class Config>
__device__ KeyRange group_keys(const ScoresArguments& a, int group) {
  if constexpr (Config::kPaged) {
    return {0, max(min(a.context_length[group], a.keys), 0)};
  } else {
    const int first = group_first_row<Config>(a, group);
    const int rows = group_row_count<Config>(a, group);
    KeyRange range{INT32_MAX, 0};
    for (int r = 0; r < rows; ++r) {
      const RowLimits limits = row_limits<Config::kPaged>(a, first + r);
      if (limits.length == 0) continue;
      range.begin = min(range.begin, limits.start);
      range.end = max(range.end, limits.start + limits.length);
    }
    if (range.end == 0) return {0, 0};
    return {range.begin & ~7, range.end};
  }
}

template <class Config>
__device__ int tile_count(KeyRange range) {
  return (range.end - range.begin + Config::kTileKeys - 1) / Config::kTileKeys;
}

template <class Config>
__device__ int cost_of(int tiles) {
  return tiles == 0 ? 0 : tiles + Config::kGroupCost;
}

// Called by all threads of the CTA; holds two block barriers.
template <class Config>
__device__ LinePart part_of_cta(const ScoresArguments& a, ScoresShared<Config>& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int per_thread = (a.groups + Config::kThreads - 1) / Config::kThreads;
  const int first = min(thread * per_thread, a.groups);
  const int last = min(first + per_thread, a.groups);

  std::int64_t own = 0;
  for (int g = first; g < last; ++g) {
    own += cost_of<Config>(tile_count<Config>(group_keys<Config>(a, g)));
  }
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
  part.begin = total * blockIdx.x / gridDim.x;
  part.end = total * (blockIdx.x + 1) / gridDim.x;
  if (part.begin < part.end && before <= part.begin && part.begin < before + own) {
    std::int64_t at = before;
    for (int g = first; g < last; ++g) {
      const int cost = cost_of<Config>(tile_count<Config>(group_keys<Config>(a, g)));
      if (part.begin < at + cost) {
        shared.first_group = g;
        shared.first_group_at = at;
        break;
      }
      at += cost;
    }
  }
  __syncthreads();
  part.group = shared.first_group;
  part.at = shared.first_group_at;
  return part;
}

}  // namespace dsaperf::kernels::sm90
