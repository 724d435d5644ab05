#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace dsaperf::kernels::sm90 {

// What every variant of the score kernel receives. A group is what one load of queries serves: in
// prefill a run of neighbouring rows, in decode the rows of one request.
struct ScoresArguments {
  CUtensorMap q{};         // [rows * heads, 128] bytes; box: one tile of columns
  CUtensorMap k{};         // prefill [keys, 128], decode [pages, 64, 128] bytes; box: 64 keys
  CUtensorMap k_scales{};  // prefill [keys] f32; box: 64 keys
  const float* weights = nullptr;                // [rows, heads]
  const std::int32_t* start = nullptr;           // prefill [rows]
  const std::int32_t* end = nullptr;             // prefill [rows]
  const std::uint8_t* pages = nullptr;           // decode; the scales of a page follow its keys
  const std::int32_t* block_table = nullptr;     // decode [groups, block_table_stride]
  const std::int32_t* context_length = nullptr;  // decode [groups]
  float* scores = nullptr;                       // [rows, scores_stride]
  std::int64_t page_stride_bytes = 0;
  std::int64_t block_table_stride = 0;
  std::int64_t scores_stride = 0;
  std::int32_t groups = 0;
  std::int32_t rows = 0;
  std::int32_t q_len = 0;    // decode: rows of a group
  std::int32_t keys = 0;     // no row sees more
  std::int32_t columns = 0;  // of scores, to be filled outside what a row sees
  float keys_given_up = 0;   // decode: the part of the keys that L2 gives up before anything else
  KeptLists kept{};          // in place of scores
};

// Rows of one group of the prefill variant, and columns (rows x heads) of one box of q.
constexpr int prefill_group_rows(int heads) {
  return 512 / heads;
}
constexpr int kPrefillColumns = 256;

// The part of so many bytes of keys that L2 shall give up before anything else: of keys that fit an
// H100's or H200's L2 what is beyond a third of it, so that what is read again is found there; of
// more, all, which leaves other data alone and is the fastest where nothing is found anyway.
constexpr float keys_given_up(std::int64_t bytes) {
  constexpr std::int64_t kL2 = 50'000'000;
  constexpr std::int64_t kStay = kL2 / 3;
  if (bytes <= kStay) return 0;
  return bytes > kL2 ? 1 : 1 - static_cast<float>(kStay) / static_cast<float>(bytes);
}

// Groups of one launch; of one of decode whose load warps plan by themselves.
constexpr int kMaxGroups = 8192;
constexpr int kMaxEarlyGroups = 256;

// What changing the group costs, in tiles, for the balance of work. The queries of the next group
// are asked for long before its first tile.
constexpr int kGroupCost = 1;

template <int kHeads>
cudaError_t launch_prefill_scores(const ScoresArguments& arguments, int sm_count,
                                  cudaStream_t stream);

// kColumns: columns of one box of q and one accumulator. kSplit: two such boxes serve a group.
template <int kHeads, int kColumns, bool kSplit>
cudaError_t launch_paged_scores(const ScoresArguments& arguments, int sm_count,
                                cudaStream_t stream);

// The same kernels, started while the grid before them ends (ScoresConfig::kEarly).
template <int kHeads>
cudaError_t launch_early_prefill_scores(const ScoresArguments& arguments, int sm_count,
                                        cudaStream_t stream);
template <int kHeads, int kColumns>
cudaError_t launch_early_paged_scores(const ScoresArguments& arguments, int sm_count,
                                      cudaStream_t stream);

// Decode of 65 ... 128 columns with four math warpgroups (ScoresConfig::kLean); 32 or 64 heads.
template <int kHeads>
cudaError_t launch_lean_paged_scores(const ScoresArguments& arguments, int sm_count,
                                     cudaStream_t stream);

// Decode of one new token whose scores go to arguments.kept; 32 or 64 heads, kMaxEarlyGroups.
template <int kHeads>
cudaError_t launch_kept_scores(const ScoresArguments& arguments, int sm_count, cudaStream_t stream);

// Writes -inf to what a row does not see of its columns.
cudaError_t launch_fill_outside(const ScoresArguments& arguments, bool paged, cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
