#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/config.cuh"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/schedule.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/tensor_load.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"

#include <cstdint>

// Indexer scores of fp8 queries and keys: s[row, key] = scale[key] * sum_h w[row, h] * relu(q . k).
//
// A persistent CTA walks its part of the line of tiles (schedule.cuh). One tile is 64 keys (M of
// wgmma, 64 x 128 bytes in shared memory) against kColumns columns, each column one head of one
// query row. The math warpgroups run independently: while the accumulators of one are reduced to
// scores in its registers, the products of the others run.
//
//   group warp       group g: limits --registers--> shared; weights, q --copy engine--> q[2]
//   load warps       tile t:  64 keys and their scales --copy engine--> k[kKeyStages]
//   math warpgroups  wait q_full, weights to registers; per tile: wait k_full, 4 wgmma (K = 32),
//                    arrive k_empty, relu-weight-sum, shuffles over a quad, scale, store
//
//   barrier  arrivals                                 waited for by
//   q_full   lanes of the group warp + bytes of q, weights  math
//   q_empty  all math threads                         group warp
//   k_full   a load lane + bytes of keys, scales      math
//   k_empty  4 math warps of each of kWays warpgroups  load warp of the tile
//
// Where elements are kept in place of scores (kKeeps, indexer_select/keep.cuh), the math warps come
// together after every kTilesOfBlock tiles of a request and where it ends here.
//
// Per 64 x 512 columns and SM: tensor 1024 cycles, 512 instructions of FP32 for each of the four
// partitions, shared memory 640 to 768 cycles. See docs/kernels/indexer_scores.md.
namespace dsaperf::kernels::sm90 {

// Which of a tile's columns a math warpgroup owns.
template <class Config>
__device__ int way_of(int warpgroup) {
  return Config::kWays == 1 ? 0 : warpgroup;
}

// Waits until the math threads are done with the slot of the count-th group, and names it.
template <class Config>
__device__ int wait_for_slot(ScoresShared<Config>& shared, int count) {
  const int slot = count % Config::kQueryStages;
  ptx::mbarrier_wait(ptx::shared_address(&shared.q_empty[slot]),
                     ((count / Config::kQueryStages) & 1) ^ 1);
  return slot;
}

// Hands a group to the math warps: the limits of its rows, its weights and its queries. One warp
// calls it.
template <class Config>
__device__ void load_group(const ScoresArguments& a, ScoresShared<Config>& shared, int slot,
                           int group, const LaneLimits<Config>& limits, const GroupWork& work) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane < GroupLanes<Config>::kLanes) {
#pragma unroll
    for (int i = 0; i < GroupLanes<Config>::kRowsOfLane; ++i) {
      shared.limits[slot][i * GroupLanes<Config>::kLanes + lane] = limits.rows[i];
    }
  }
  const std::uint32_t q_full = ptx::shared_address(&shared.q_full[slot]);
  if (!ptx::elect_one()) {
    ptx::mbarrier_arrive(q_full);
    return;
  }
  shared.work[slot] = work;
  // Rows that are not there keep old weights; nothing of theirs is stored.
  const int weight_bytes = group_row_count<Config>(a, group) * Config::kHeads * 4;
  ptx::mbarrier_arrive_expect_tx(q_full, Config::kGroupColumns * Config::kDim + weight_bytes);
  ptx::bulk_load(ptx::shared_address(shared.weights[slot]),
                 a.weights + std::int64_t{work.first_row} * Config::kHeads, weight_bytes, q_full);
  for (int c = 0; c < Config::kGroupColumns; c += Config::kColumns) {
    ptx::tensor_load_2d(ptx::shared_address(&shared.q[slot][c * Config::kDim]), &a.q, q_full, 0,
                        work.first_row * Config::kHeads + c);
  }
}

// What each load warp does: it walks along the part and loads every kLoadWarps-th tile; and the
// group warp, one of them or another.
template <class Config>
__device__ void produce(const ScoresArguments& a, ScoresShared<Config>& shared,
                        const LinePart& part, int warp) {
  constexpr int kStages = Config::kKeyStages;
  constexpr int kWarps = Config::kLoadWarps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool loads_groups = warp == Config::kGroupWarp;
  const bool loads_tiles = Config::kGroupWarp < kWarps || !loads_groups;
  int at = part.at;
  int count = 0;           // of groups
  bool told_last = false;  // the math warps know that no other group comes
  int next = warp;         // this warp's next tile, counted from the first of the group
  int stage = warp;
  std::uint32_t empty_parity = 1;  // of a stage never filled: passes at once
  const std::uint64_t given_up = ptx::policy_evict_first(fmaxf(a.keys_given_up, 1.f / 16));

  // Which pages a group has is asked for while those of the group before are loaded: it may have to
  // come from memory, 2 us where that is busy.
  const auto touch_table = [&](int group) {
    if constexpr (Config::kPaged) {
      if (loads_tiles && group < a.groups && kWarps * lane < a.block_table_stride)
        ptx::touch_l1(a.block_table + group * a.block_table_stride + kWarps * lane);
    }
  };
  for (int group = part.group; group < a.groups && at < part.end; ++group) {
    const LaneLimits<Config> limits =
        load_limits<Config>(a, group, lane % GroupLanes<Config>::kLanes);
    const KeyRange keys = union_of<Config>(limits);
    const int group_tiles = tile_count<Config>(keys);
    const int tiles_at = at + kGroupCost;
    at += cost_of(group_tiles);
    const int first_tile = max(min(part.begin - tiles_at, group_tiles), 0);
    const int tiles = max(min(part.end - tiles_at, group_tiles), 0) - first_tile;
    if (tiles <= 0) continue;

    [[maybe_unused]] const std::int32_t* table = nullptr;  // of the group's first tile here
    [[maybe_unused]] int page_of_lane = 0;                 // of this warp's next tiles, one a lane
    [[maybe_unused]] int next_page_of_lane = 0;            // of the 32 after them
    if constexpr (Config::kPaged) {
      table = a.block_table + group * a.block_table_stride + first_tile;
      const int tile = next + kWarps * lane;
      if (loads_tiles && tile < tiles) next_page_of_lane = table[tile];
    }
    if (at < part.end) touch_table(group + 1);
    if (loads_groups) {
      const int slot = wait_for_slot(shared, count);
      ++count;
      told_last = at >= part.end;
      load_group<Config>(a, shared, slot, group, limits,
                         {group_first_row<Config>(a, group),
                          keys.begin + first_tile * Config::kTileKeys, tiles, told_last});
    }
    if (!loads_tiles) continue;

    for (int i = 0; next < tiles; ++i, next += kWarps) {
      [[maybe_unused]] int page = 0;
      if constexpr (Config::kPaged) {
        if (i % 32 == 0) {
          page_of_lane = next_page_of_lane;
          const int tile = next + kWarps * (32 + lane);
          if (tile < tiles) next_page_of_lane = table[tile];
        }
        page = __shfl_sync(~0u, page_of_lane, i % 32);
      }
      ptx::mbarrier_wait(ptx::shared_address(&shared.k_empty[stage]), empty_parity);
      if (ptx::elect_one()) {
        const std::uint32_t full = ptx::shared_address(&shared.k_full[stage]);
        const std::uint32_t k = ptx::shared_address(shared.k[stage]);
        const std::uint32_t scales = ptx::shared_address(shared.k_scales[stage]);
        ptx::mbarrier_arrive_expect_tx(full, Config::kKeyTileBytes + Config::kScaleTileBytes);
        if constexpr (Config::kPaged) {
          if (a.keys_given_up > 0)
            ptx::tensor_load_3d(k, &a.k, full, 0, 0, page, given_up);
          else
            ptx::tensor_load_3d(k, &a.k, full, 0, 0, page);
          ptx::bulk_load(scales, a.pages + page * a.page_stride_bytes + Config::kKeyTileBytes,
                         Config::kScaleTileBytes, full);
        } else {
          const int key = keys.begin + (first_tile + next) * Config::kTileKeys;
          ptx::tensor_load_2d(k, &a.k, full, 0, key);
          ptx::tensor_load_1d(scales, &a.k_scales, full, key);
        }
      }
      __syncwarp();
      stage += kWarps;
      if (stage >= kStages) {
        stage -= kStages;
        empty_parity ^= 1;
      }
    }
    next -= tiles;
  }

  if (!loads_groups || told_last) return;
  const int slot = wait_for_slot(shared, count);
  if (lane == 0) shared.work[slot] = {0, 0, 0, 1};
  ptx::mbarrier_arrive(ptx::shared_address(&shared.q_full[slot]));
}

// Sums of the four lanes of a quad, `values` at a time: each lane keeps the half of the values
// whose bit is its own and gets the other lane's part of them.
__device__ inline float exchange(float zero, float one, int bit, int lane) {
  const bool odd = (lane & bit) != 0;
  const float kept = odd ? one : zero;
  const float sent = odd ? zero : one;
  return kept + __shfl_xor_sync(~0u, sent, bit);
}

template <class Config>
struct Epilogue {
  static constexpr int kRows = Config::kRows;
  static constexpr int kHeadPairs = Config::kHeads / 8;     // column pairs of a lane and a row
  static constexpr int kChunkRows = kRows < 4 ? kRows : 4;  // rows reduced over the quad at once
  static constexpr int kChunks = kRows / kChunkRows;

  float weights[Config::kLean ? 1 : Config::kColumns / 4];
  const float2* weight_pairs;  // of this lane, 4 apart; read for each tile where kLean
  // Limits of this lane's rows: few stay in registers, many in shared memory.
  static constexpr bool kKeepLimits = kChunks <= 2;
  RowLimits kept_limits[kKeepLimits ? kChunks : 1];
  const RowLimits* limits_of_lane;
  float* out;  // of this lane's first row, first key of the tile
  std::int64_t row_stride;
  int key;          // of the tile, this lane's first
  int key_in_tile;  // the same, counted from the tile's first
  int lane;
  // Where elements are kept in place of scores.
  std::conditional_t<Config::kKeeps, KeepingWarp, NoSegment> keeping;

  __device__ int row_in_chunk() const { return lane % kChunkRows; }

  // A lane has sums of the keys lane / 4 and lane / 4 + 8 of its warp. With one or two rows, lanes
  // are enough for it to store the score of but one.
  static constexpr bool kOneKey = kRows <= 2;
  __device__ bool lane_has_second_key() const { return kOneKey && (lane & kRows) != 0; }

  __device__ void begin_group(const ScoresArguments& a, ScoresShared<Config>& shared, int slot,
                              int warpgroup, int first_tile) {
    lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = (static_cast<int>(threadIdx.x) / 32) % 4;
    key_in_tile = warp * 16 + lane / 4 + (lane_has_second_key() ? 8 : 0);
    const int column = way_of<Config>(warpgroup) * Config::kColumns;
    const int row = way_of<Config>(warpgroup) * kRows;
    weight_pairs = reinterpret_cast<const float2*>(&shared.weights[slot][column]) + lane % 4;
    read_weights();
    limits_of_lane = &shared.limits[slot][row + row_in_chunk()];
    if constexpr (kKeepLimits) {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) kept_limits[c] = limits_of_lane[c * kChunkRows];
    }
    row_stride = a.scores_stride;
    const GroupWork& work = shared.work[slot];
    key = work.first_key + first_tile * Config::kTileKeys + key_in_tile;
    out = a.scores + (std::int64_t{work.first_row} + row + row_in_chunk()) * row_stride + key;
  }

  // To registers, unless they are read for each tile.
  __device__ void read_weights() {
    if constexpr (!Config::kLean) {
#pragma unroll
      for (int j = 0; j < Config::kColumns / 8; ++j) {
        const float2 pair = weight_pairs[j * 4];
        weights[2 * j] = pair.x;
        weights[2 * j + 1] = pair.y;
      }
    }
  }

  // On to this warpgroup's next tile.
  __device__ void advance() {
    key += Config::kTeams * Config::kTileKeys;
    out += Config::kTeams * Config::kTileKeys;
  }

  // Sums over this lane's heads of one row, for its two keys: w * 2 relu(x), as x + |x| = 2 relu(x)
  // exactly and an addition issues at the full rate where a maximum does not. The two products of
  // a weight stand together, so that its register is read once.
  __device__ float2 lane_sums(const float (&d)[Config::kColumns / 2], int row) const {
    float2 sum{0, 0};
#pragma unroll
    for (int p = 0; p < kHeadPairs; ++p) {
      const int j = row * kHeadPairs + p;
      float2 pair;
      if constexpr (Config::kLean) {
        pair = weight_pairs[j * 4];
      } else {
        pair = {weights[2 * j], weights[2 * j + 1]};
      }
#pragma unroll
      for (int column = 0; column < 2; ++column) {
        const float low = d[4 * j + column];
        const float high = d[4 * j + 2 + column];
        const float weight = column == 0 ? pair.x : pair.y;
        sum.x = fmaf(low + fabsf(low), weight, sum.x);
        sum.y = fmaf(high + fabsf(high), weight, sum.y);
      }
    }
    return sum;
  }

  // Where elements are kept all lanes of the warp come; `own`: whether this one has a score.
  __device__ void put(int chunk, int further, float sum, float scale, bool own = true) {
    RowLimits limit;
    if constexpr (kKeepLimits) {
      limit = kept_limits[chunk];
    } else {
      limit = limits_of_lane[chunk * kChunkRows];
    }
    const bool visible = own && static_cast<unsigned>(key + further - limit.start) <
                                    static_cast<unsigned>(limit.length);
    if constexpr (Config::kKeeps) {
      keeping.keep(visible, static_cast<std::uint32_t>(key), (0.5f * sum) * scale);
    } else if (visible) {
      out[chunk * kChunkRows * row_stride + further] = (0.5f * sum) * scale;
    }
  }

  // Scores of a tile; `scales` of this lane's first key, and of its second one.
  __device__ void store(const float (&d)[Config::kColumns / 2], const float (&scales)[2]) {
    if constexpr (kRows == 1) {
      const float2 own = lane_sums(d, 0);
      float sum = exchange(own.x, own.y, 1, lane);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const bool own_score = lane % 4 < 2;
      if (Config::kKeeps || own_score) put(0, 0, sum, scales[0], own_score);
    } else if constexpr (kRows == 2) {
      const float2 zero = lane_sums(d, 0);
      const float2 one = lane_sums(d, 1);
      const float sum =
          exchange(exchange(zero.x, one.x, 1, lane), exchange(zero.y, one.y, 1, lane), 2, lane);
      put(0, 0, sum, scales[0]);
    } else {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
        const float2 row0 = lane_sums(d, 4 * c);
        const float2 row1 = lane_sums(d, 4 * c + 1);
        const float2 row2 = lane_sums(d, 4 * c + 2);
        const float2 row3 = lane_sums(d, 4 * c + 3);
        put(c, 0,
            exchange(exchange(row0.x, row1.x, 1, lane), exchange(row2.x, row3.x, 1, lane), 2, lane),
            scales[0]);
        put(c, 8,
            exchange(exchange(row0.y, row1.y, 1, lane), exchange(row2.y, row3.y, 1, lane), 2, lane),
            scales[1]);
      }
    }
  }
};

template <class Config>
__device__ void consume(const ScoresArguments& a, ScoresShared<Config>& shared, int warpgroup) {
  constexpr int kStages = Config::kKeyStages;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int team = Config::kTeams == 1 ? 0 : warpgroup;
  int next = team;  // this team's next tile, counted from the first of the group
  int stage = team;
  std::uint32_t full_parity = 0;
  float d[Config::kColumns / 2];
  Epilogue<Config> epilogue;
  if constexpr (Config::kKeeps) {
    static_assert(32 * kKeepingWarps == 128 * Config::kMathWarpgroups);
    static_assert(kTilesOfBlock / Config::kTeams * Config::kTileKeys / 4 == kHalfList);
    epilogue.keeping.begin(shared.kept);
  }
  const std::uint64_t first_k = ptx::swizzled_128b(ptx::shared_address(shared.k[0]), 16);

  for (int group_count = 0;; ++group_count) {
    const int slot = group_count % Config::kQueryStages;
    ptx::mbarrier_wait(ptx::shared_address(&shared.q_full[slot]),
                       (group_count / Config::kQueryStages) & 1);
    const int tiles = shared.work[slot].tiles;
    if (tiles == 0) break;
    const bool last = shared.work[slot].last;
    epilogue.begin_group(a, shared, slot, warpgroup, next);
    const int column = way_of<Config>(warpgroup) * Config::kColumns;
    const std::uint64_t q =
        ptx::swizzled_128b(ptx::shared_address(&shared.q[slot][column * Config::kDim]), 16);

    const auto score_tiles_before = [&](int end) {
      for (; next < end; next += Config::kTeams) {
        ptx::mbarrier_wait(ptx::shared_address(&shared.k_full[stage]), full_parity);
        const std::uint64_t k = first_k + stage * (Config::kKeyTileBytes / 16);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < Config::kDim / 32; ++step) {
          ptx::wgmma_e4m3<Config::kColumns>(d, k + 2 * step, q + 2 * step, step != 0);
        }
        ptx::wgmma_commit();
        const float* scales_of_lane = &shared.k_scales[stage][epilogue.key_in_tile];
        const float scales[2] = {scales_of_lane[0],
                                 Epilogue<Config>::kOneKey ? 0 : scales_of_lane[8]};
        ptx::wgmma_wait<0>();
        ptx::own_registers(d);
        __syncwarp();
        ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.k_empty[stage]), lane);
        epilogue.store(d, scales);
        epilogue.advance();
        stage += Config::kTeams;
        if (stage >= kStages) {
          stage -= kStages;
          full_parity ^= 1;
        }
      }
    };
    if constexpr (Config::kKeeps) {
      for (int end = kTilesOfBlock; end < tiles; end += kTilesOfBlock) {
        score_tiles_before(end);
        epilogue.keeping.end_block(a.kept.topk, a.keys);
        epilogue.read_weights();  // anew, so that dropping has their registers
      }
    }
    score_tiles_before(tiles);
    next -= tiles;
    [[maybe_unused]] const int request = shared.work[slot].first_row;  // where q_len is 1
    // Every thread has read the slot, and says so itself.
    ptx::mbarrier_arrive(ptx::shared_address(&shared.q_empty[slot]));
    if constexpr (Config::kKeeps)
      epilogue.keeping.end_segment(a.kept, request + std::int64_t{blockIdx.x}, a.keys);
    if (last) break;
  }
}

template <class Config>
__global__ void __launch_bounds__(Config::kThreads, 1)
    scores_kernel(const __grid_constant__ ScoresArguments a) {
  extern __shared__ __align__(1024) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<ScoresShared<Config>*>(dynamic_shared);
  // One value for the warp, and the compiler shall know it.
  const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
  const int warpgroup = warp / 4;
  const int thread = static_cast<int>(threadIdx.x);

  constexpr int kMathThreads = 128 * Config::kMathWarpgroups;
  if (thread == 0) {
    for (int i = 0; i < Config::kQueryStages; ++i) {
      ptx::mbarrier_init(ptx::shared_address(&shared.q_full[i]), 32);
      ptx::mbarrier_init(ptx::shared_address(&shared.q_empty[i]), kMathThreads);
    }
    for (int i = 0; i < Config::kKeyStages; ++i) {
      ptx::mbarrier_init(ptx::shared_address(&shared.k_full[i]), 1);
      ptx::mbarrier_init(ptx::shared_address(&shared.k_empty[i]),
                         4 * Config::kWays * ptx::kArrivalsOfWarp);
    }
    ptx::fence_mbarrier_init();
    ptx::prefetch_tensor_map(&a.q);
    ptx::prefetch_tensor_map(&a.k);
  }
  if constexpr (Config::kPaged) {
    // The first page is known only after the lengths and then the table have come: overlap the two.
    constexpr int kLine = 128 / sizeof(std::int32_t);
    const std::int64_t entry = static_cast<std::int64_t>(thread) * kLine;
    if (entry < a.groups * a.block_table_stride) ptx::prefetch_l2(a.block_table + entry);
  }
  if constexpr (Config::kKeeps) begin_keeping(shared.kept, thread, Config::kThreads);
  if constexpr (Config::kEarly) {
    ptx::launch_next_grid();
    if constexpr (Config::kPaged) __syncthreads();  // barriers are initialised
    ptx::wait_for_previous_grid();                  // every thread reads or writes global memory
  }
  // Few requests' lengths are read by each load warp, all else by the CTA.
  constexpr bool kFromLengths = Config::kPaged && Config::kEarly;
  // No key has been loaded yet, so their place holds the costs.
  static_assert(sizeof(shared.k) >= sizeof(std::int32_t) * GroupCosts::kSize);
  const GroupCosts costs{reinterpret_cast<std::int32_t*>(&shared.k[0][0])};
  if constexpr (!kFromLengths) {
    compute_costs<Config>(a, costs);
    __syncthreads();  // and barriers are initialised
  }

  if (warpgroup == Config::kMathWarpgroups) {
    ptx::fewer_registers<Config::kLoadRegisters>();
    const int load_warp = warp % 4;
    if (load_warp < Config::kLoadWarps || load_warp == Config::kGroupWarp) {
      LinePart part;
      if constexpr (kFromLengths) {
        part = part_from_lengths<Config>(a);
      } else {
        part = part_from_costs(a, costs);
        ptx::named_barrier_sync(1, 32 * Config::kPlanningWarps);  // all have read the costs
        ptx::fence_async_shared();
      }
      produce<Config>(a, shared, part, load_warp);
    }
  } else {
    ptx::more_registers<Config::kMathRegisters>();
    consume<Config>(a, shared, warpgroup);
  }
}

}  // namespace dsaperf::kernels::sm90
