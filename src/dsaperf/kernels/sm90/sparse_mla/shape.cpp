#include "dsaperf/kernels/sm90/sparse_mla/shape.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

// Modelled clocks: of a block of 64 rows, of an item's prologue and epilogue, of the merge of a
// cluster through distributed shared memory.
constexpr double kBlockClocks = 2700;
constexpr double kItemClocks = 6000;
constexpr double kPersistentItemClocks = 3000;  // the rest overlaps with the neighbours
constexpr double kMergeClocks = 5000;

constexpr int kSizes = 5;
constexpr int kBlockRows = 64;
constexpr int kMaxDevices = 64;

struct Residents {
  bool known = false;
  int count[2][kSizes] = {};  // by format, by log2 of the cluster size
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
  for (int i = 0; i < kSizes; ++i) {
    DSAPERF_CUDA_TRY(
        resident_clusters<KvRows::Format::kBf16>(1 << i, &residents.count[0][i]));
    DSAPERF_CUDA_TRY(resident_clusters<KvRows::Format::kFp8>(1 << i, &residents.count[1][i]));
  }
  residents.known = true;
  return &residents;
}

}  // namespace

Shape choose_shape(std::int64_t items, int blocks, const int (&resident)[kSizes]) {
  Shape best;
  double lowest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kSizes; ++i) {
    const int cluster = 1 << i;
    if (resident[i] <= 0 || (cluster > 1 && cluster > blocks)) continue;
    const std::int64_t waves = (items + resident[i] - 1) / resident[i];
    const int rows = (blocks + cluster - 1) / cluster;
    const double clocks =
        cluster == 1
            ? kItemClocks + static_cast<double>(waves) * (kPersistentItemClocks + rows * kBlockClocks)
            : static_cast<double>(waves) * (kItemClocks + kMergeClocks + rows * kBlockClocks);
    if (clocks >= lowest) continue;
    lowest = clocks;
    best.cluster = cluster;
    best.grid = static_cast<int>(cluster == 1 ? std::min<std::int64_t>(items, resident[i])
                                              : items * cluster);
  }
  return best;
}

Result<Shape> choose_shape(const SparseMlaParams& params) {
  DSAPERF_TRY_ASSIGN(const Residents* residents, residents_of_device());
  const std::int64_t items = params.tokens * head_tiles(params.heads);
  const int blocks = (params.topk + kBlockRows - 1) / kBlockRows;
  const int format = params.kv.format == KvRows::Format::kFp8 ? 1 : 0;
  const Shape shape = choose_shape(items, blocks, residents->count[format]);
  if (shape.grid == 0)
    return fail(Errc::kUnsupported, "sparse_mla: this GPU cannot hold the kernel (needs Hopper)");
  return shape;
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
