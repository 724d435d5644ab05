#include "dsaperf/perfdb/dsa_table.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

namespace dsaperf::perfdb {
namespace {

// From the Parquet file to typed rows. Budget: 25 ms for the 81,836 rows of h200_sxm.
void load_context_table(benchmark::State& state, const std::string& system) {
  const auto root = testing::systems_tree();
  if (!root) {
    state.SkipWithError(testing::kNoSystems.data());
    return;
  }
  const auto tree = SystemsTree::open(*root);
  std::int64_t rows = 0;
  for (auto _ : state) {
    const auto table = load_dsa_table(*tree, system, "sglang", "0.5.14", Phase::kContext);
    if (!table) {
      state.SkipWithError(table.error().message().c_str());
      return;
    }
    rows += static_cast<std::int64_t>(table->rows.size());
  }
  state.SetItemsProcessed(rows);
}
BENCHMARK_CAPTURE(load_context_table, h200_sxm, "h200_sxm")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load_context_table, h100_sxm, "h100_sxm")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dsaperf::perfdb
