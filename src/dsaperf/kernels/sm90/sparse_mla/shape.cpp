#include "dsaperf/kernels/sm90/sparse_mla/shape.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

// Modelled clocks: of a block of 64 rows by format, of an item's prologue and epilogue, of the
// merge of a cluster, which moves 2 KB a head through distributed shared memory.
constexpr double kBlockClocks[2] = {3300, 5100};  // bf16, fp8: H200, 2026-11-24
constexpr double kItemClocks = 6000;
constexpr double kPersistentItemClocks = 3000;  // the rest overlaps with the neighbours
constexpr double kMergeClocks = 2000;
constexpr double kMergeHeadClocks = 130;

constexpr int kBlockRows = 64;
constexpr int kMaxDevices = 64;

struct Residents {
  bool known = false;
  int count[2][kMaxClusterSize] = {};  // by format, by cluster size - 1
};

Result<const Residents*> residents_of_device() {
  static std::mutex mutex;
  static std::array<Residents, kMaxDevices> cache;
  int device = 0;
  DSAPERF_CUDA_TRY(cudaGetDevice(&device));
  if (device >= kMaxDevices) return fail(Errc::kUnsupported, "device ordinal {}", device);
  const std::scoped_lock lock(mutex);
  Residents& residents = cache[device];
  if (residents.known) return &residents;
  DSAPERF_CUDA_TRY(
      cudaDeviceGetAttribute(&residents.count[0][0], cudaDevAttrMultiProcessorCount, device));
  residents.count[1][0] = residents.count[0][0];  // one CTA an SM
  for (int c = 2; c <= kMaxClusterSize; ++c) {
    DSAPERF_CUDA_TRY((resident_clusters<KvRows::Format::kBf16, 1>)(c, &residents.count[0][c - 1]));
    DSAPERF_CUDA_TRY((resident_clusters<KvRows::Format::kFp8, 1>)(c, &residents.count[1][c - 1]));
  }
  residents.known = true;
  return &residents;
}

}  // namespace

Plan choose_plan(std::int64_t tokens, int heads, int blocks, KvRows::Format format,
                 const int (&resident)[kMaxClusterSize]) {
  const int tiles = head_tiles(heads);
  const double block_clocks = kBlockClocks[format == KvRows::Format::kFp8 ? 1 : 0];
  const double merge_clocks = kMergeClocks + kMergeHeadClocks * std::min(heads, 64);
  const auto persistent_clocks = [&](double rounds) {
    return kItemClocks + rounds * (kPersistentItemClocks + blocks * block_clocks);
  };
  struct Clustered {
    double clocks = std::numeric_limits<double>::infinity();
    int cluster = 0;
  };
  const auto clustered = [&](std::int64_t items) {
    Clustered best;
    for (int c = 2; c <= std::min(kMaxClusterSize, blocks); ++c) {
      const int fit = resident[c - 1];
      if (fit <= 0) continue;
      const std::int64_t rounds = (items + fit - 1) / fit;
      const int longest = (blocks + c - 1) / c;
      const double clocks =
          static_cast<double>(rounds) * (kItemClocks + merge_clocks + block_clocks * longest);
      if (clocks < best.clocks) best = {clocks, c};
    }
    return best;
  };
  const auto launch = [&](std::int64_t first, std::int64_t count, int cluster) {
    const std::int64_t items = count * tiles;
    const std::int64_t ctas =
        cluster == 1 ? std::min<std::int64_t>(items, resident[0]) : items * cluster;
    return Launch{first, count, {.cluster = cluster, .grid = static_cast<int>(ctas)}};
  };

  const std::int64_t items = tokens * tiles;
  const std::int64_t full_rounds = items / resident[0];
  const std::int64_t in_full_rounds = full_rounds * resident[0] / tiles;  // tokens
  const std::int64_t rounds = (items + resident[0] - 1) / resident[0];
  const Clustered all = clustered(items);
  const double alone = persistent_clocks(static_cast<double>(rounds));
  const Clustered rest = clustered((tokens - in_full_rounds) * tiles);
  const double split = full_rounds > 0 && in_full_rounds < tokens
                           ? persistent_clocks(static_cast<double>(full_rounds)) + rest.clocks
                           : std::numeric_limits<double>::infinity();
  if (split < alone && split < all.clocks)
    return {launch(0, in_full_rounds, 1),
            launch(in_full_rounds, tokens - in_full_rounds, rest.cluster)};
  return {launch(0, tokens, all.clocks < alone ? all.cluster : 1), {}};
}

Result<Plan> choose_plan(const SparseMlaParams& params) {
  DSAPERF_TRY_ASSIGN(const Residents* residents, residents_of_device());
  const int blocks = (params.topk + kBlockRows - 1) / kBlockRows;
  return choose_plan(params.tokens, params.heads, blocks, params.kv.format,
                     residents->count[params.kv.format == KvRows::Format::kFp8 ? 1 : 0]);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
