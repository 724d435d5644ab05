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
constexpr double kBlockClocks[2] = {2700, 3200};  // bf16, fp8
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
    DSAPERF_CUDA_TRY(resident_clusters<KvRows::Format::kBf16>(c, &residents.count[0][c - 1]));
    DSAPERF_CUDA_TRY(resident_clusters<KvRows::Format::kFp8>(c, &residents.count[1][c - 1]));
  }
  residents.known = true;
  return &residents;
}

}  // namespace

Shape choose_shape(std::int64_t items, int heads, int blocks, double block_clocks,
                   const int (&resident)[kMaxClusterSize]) {
  Shape best;
  double lowest = std::numeric_limits<double>::infinity();
  for (int c = 1; c <= kMaxClusterSize; ++c) {
    const int fit = resident[c - 1];
    if (fit <= 0 || (c > 1 && c > blocks)) continue;
    const auto rounds = static_cast<double>((items + fit - 1) / fit);
    const double walk = block_clocks * ((blocks + c - 1) / c);
    const double clocks =
        c == 1 ? kItemClocks + rounds * (kPersistentItemClocks + walk)
               : rounds * (kItemClocks + kMergeClocks + kMergeHeadClocks * heads + walk);
    if (clocks >= lowest) continue;
    lowest = clocks;
    best.cluster = c;
    best.grid = static_cast<int>(c == 1 ? std::min<std::int64_t>(items, fit) : items * c);
  }
  return best;
}

Result<Shape> choose_shape(const SparseMlaParams& params) {
  DSAPERF_TRY_ASSIGN(const Residents* residents, residents_of_device());
  const std::int64_t items = params.tokens * head_tiles(params.heads);
  const int blocks = (params.topk + kBlockRows - 1) / kBlockRows;
  const int format = params.kv.format == KvRows::Format::kFp8 ? 1 : 0;
  const Shape shape = choose_shape(items, std::min(params.heads, 64), blocks, kBlockClocks[format],
                                   residents->count[format]);
  if (shape.grid == 0)
    return fail(Errc::kUnsupported, "sparse_mla: this GPU cannot hold the kernel (needs Hopper)");
  return shape;
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
