// The tuning table of the calling thread's device.
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <mutex>
#include <optional>

namespace dsaperf::kernels {
namespace {

constexpr int kMaxDevices = 64;

// A table of another number of SMs (a part of a card, a cut-down model) says nothing of this one.
Result<TuningTable> table_of(int ordinal) {
  DSAPERF_TRY_ASSIGN(const auto device, gpu::query_device(ordinal));
  const auto card = card_of_device(device.name);
  const auto data = data_dir();
  if (!card || !data) return TuningTable{};
  DSAPERF_TRY_ASSIGN(auto table, read_tuning(*data, *card));
  return table.sm_count == device.sm_count ? std::move(table) : TuningTable{};
}

}  // namespace

Result<Variant> tuned_variant(const TunedShape& shape) {
  static std::mutex mutex;
  static std::array<std::optional<Result<TuningTable>>, kMaxDevices> tables;
  int ordinal = 0;
  DSAPERF_CUDA_TRY(cudaGetDevice(&ordinal));
  if (ordinal >= kMaxDevices) return Variant::kDefault;
  const std::scoped_lock lock(mutex);
  auto& table = tables[ordinal];
  if (!table) table = table_of(ordinal);
  if (!*table) return tl::unexpected(table->error());
  return (*table)->choose(shape);
}

}  // namespace dsaperf::kernels
