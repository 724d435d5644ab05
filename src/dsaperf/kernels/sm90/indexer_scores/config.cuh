#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/keep.cuh"

#include <cstdint>
#include <type_traits>

namespace dsaperf::kernels::sm90 {

// What a CTA leaves.
enum class Leaves {
  kScores,
  kKept  // in place of scores what a top-k may take (indexer_select/keep.cuh)
};

// One variant of the score kernel.
//   kColumns  columns (query rows x heads) of one accumulator: N of the product
//   kShares   all math warpgroups share each tile of keys and own different columns; else they take
//             tiles in turn
//   kEarly    starts while the grid before it ends (programmatic dependent launch), and in decode
//             lets the producer alone find its work: no block barrier before the first page
//   kLeaves   what a CTA leaves for a selection; but for scores, in decode of one new token
//   kLean     weights are read from shared memory for each tile, which frees the registers for a
//             fourth math warpgroup where there are 128 columns
template <int kIndexHeads, int kProductColumns, bool kShares, bool kPagedKeys,
          bool kStartsEarly = false, Leaves kLeaves = Leaves::kScores, bool kReadsWeights = false>
struct ScoresConfig {
  static constexpr int kHeads = kIndexHeads;
  static constexpr int kColumns = kProductColumns;
  static constexpr bool kPaged = kPagedKeys;
  static constexpr bool kEarly = kStartsEarly;
  static constexpr bool kKeeps = kLeaves == Leaves::kKept;
  static constexpr bool kLean = kReadsWeights;

  static constexpr int kDim = 128;      // bytes of a key or of one head of a query
  static constexpr int kTileKeys = 64;  // M of the product, and a page
  // As many as the registers allow: products and sums overlap by chance, better so with more.
  static constexpr int kMathWarpgroups = kColumns == 256 ? 2 : kColumns == 128 && !kLean ? 3 : 4;
  static constexpr int kWays = kShares ? kMathWarpgroups : 1;  // warpgroups a tile
  static constexpr int kTeams = kShares ? 1 : kMathWarpgroups;
  static constexpr int kThreads = 128 * (kMathWarpgroups + 1);
  static constexpr int kRows = kColumns / kHeads;  // of one warpgroup
  static constexpr int kGroupRows = kWays * kRows;
  static constexpr int kGroupColumns = kGroupRows * kHeads;

  // Registers a thread. The warpgroups share what the launch allotted; to ask for more waits for
  // ever.
  static constexpr int kMathRegisters = kMathWarpgroups == 2   ? 224
                                        : kMathWarpgroups == 3 ? 144
                                                               : 112;
  // Warps of the load warpgroup that load keys, tile by tile in turn: to issue the two copies of a
  // page takes one warp some 500 clocks beside the math, as long as memory takes.
  static constexpr int kLoadWarps = !kPaged ? 1 : kTeams == 3 ? 3 : 4;
  // The warp of the load warpgroup that loads groups: in decode one that does not load the first
  // tile, which waits for neither then.
  static constexpr int kGroupWarp = !kPaged ? 0 : 3;
  static constexpr int kPlanningWarps = kLoadWarps + (kLoadWarps <= kGroupWarp ? 1 : 0);
  static constexpr int kLoadRegisters = kMathWarpgroups == 4 ? 32 : 56;
  static_assert(kMathWarpgroups * kMathRegisters + kLoadRegisters <=
                65536 / kThreads / 8 * 8 * (kMathWarpgroups + 1));

  static constexpr int kQueryStages = 2;
  static constexpr int kKeyTileBytes = kTileKeys * kDim;
  static constexpr int kScaleTileBytes = kTileKeys * 4;
  static constexpr int kMaxSharedBytes = 227 * 1024;
  static constexpr int kPerGroupBytes = kGroupColumns * (kDim + 4) + kGroupRows * 8 + 16;
  static constexpr int kLeftBytes = kKeeps ? static_cast<int>(sizeof(KeptSegment)) : 0;
  static constexpr int kFit =
      (kMaxSharedBytes - 2048 - kLeftBytes - kQueryStages * kPerGroupBytes) /
      (kKeyTileBytes + kScaleTileBytes + 16);
  // What covers the latency of memory. More in flight is slower: it only stands in line, and L2 has
  // to hold it. A stage always comes to the same load warp and the same team, however far the
  // others run ahead of these or fall behind: a barrier tells but two phases apart.
  static constexpr int kMostStages = kPaged && kColumns == 64 ? 12 : 10;
  static constexpr int kTurn = kLoadWarps > kTeams ? kLoadWarps : kTeams;
  static constexpr int kKeyStages = (kFit < kMostStages ? kFit : kMostStages) / kTurn * kTurn;
  static_assert(kTurn % kLoadWarps == 0 && kTurn % kTeams == 0);

  static_assert(kColumns == 64 || kColumns == 128 || kColumns == 256);
  static_assert(kColumns % kHeads == 0 && kKeyStages >= 4 && kKeyStages >= kLoadWarps);
  static_assert(kLeaves == Leaves::kScores || (kPaged && kEarly && kWays == 1));
};

// The rows a group has in a CTA and the keys it shall score there.
struct GroupWork {
  std::int32_t first_row;
  std::int32_t first_key;
  std::int32_t tiles;  // 0: no more work
  std::int32_t last;   // whether no other group comes
};

// Which keys one row sees.
struct RowLimits {
  std::int32_t start;
  std::int32_t length;
};

struct NoSegment {};

template <class Config>
struct ScoresShared {
  alignas(1024) std::uint8_t q[Config::kQueryStages][Config::kGroupColumns * Config::kDim];
  alignas(1024) std::uint8_t k[Config::kKeyStages][Config::kKeyTileBytes];
  alignas(128) float k_scales[Config::kKeyStages][Config::kTileKeys];
  alignas(16) float weights[Config::kQueryStages][Config::kGroupColumns];
  alignas(16) RowLimits limits[Config::kQueryStages][Config::kGroupRows];
  alignas(16) GroupWork work[Config::kQueryStages];
  alignas(8) std::uint64_t q_full[Config::kQueryStages];
  std::uint64_t q_empty[Config::kQueryStages];
  std::uint64_t k_full[Config::kKeyStages];
  std::uint64_t k_empty[Config::kKeyStages];
  std::conditional_t<Config::kKeeps, KeptSegment, NoSegment> kept;
};

}  // namespace dsaperf::kernels::sm90
