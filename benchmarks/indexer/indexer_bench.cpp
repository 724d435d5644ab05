// Times the indexer's kernels on the shapes they are compared at, and top-k with every plan that
// its tuning space has. One line a case: name, shape, cold and warm microseconds, rate.
//
//   indexer_bench [scores] [paged] [topk] [plans]

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/timing.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"
#include "dsaperf/kernels/topk.hpp"

#include <fmt/format.h>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace dsaperf {
namespace {

template <typename T>
using Array = gpu::DeviceArray<T>;

// Device memory filled with copies of a pattern.
template <typename T>
Result<Array<T>> repeated(const std::vector<T>& pattern, std::size_t size) {
  DSAPERF_TRY_ASSIGN(auto array, Array<T>::uninitialized(size));
  for (std::size_t at = 0; at < size; at += pattern.size()) {
    DSAPERF_CUDA_TRY(cudaMemcpy(array.data() + at, pattern.data(),
                                std::min(pattern.size(), size - at) * sizeof(T),
                                cudaMemcpyHostToDevice));
  }
  return array;
}

std::vector<float> normal_floats(std::size_t size) {
  std::vector<float> values(size);
  std::minstd_rand engine(5);
  std::normal_distribution<float> normal;
  for (auto& value : values) value = normal(engine);
  return values;
}

std::vector<std::uint8_t> normal_bytes(std::size_t size) {
  const auto floats = normal_floats(size);
  std::vector<std::uint8_t> bytes(size);
  std::ranges::transform(floats, bytes.begin(), [](float x) { return kernels::e4m3_from(x); });
  return bytes;
}

Result<void> report(const std::string& name, const gpu::StreamWork& work, double flops,
                    double bytes, const gpu::TimingOptions& options = {}) {
  DSAPERF_TRY_ASSIGN(const auto cold, gpu::time_cold(work, options));
  DSAPERF_TRY_ASSIGN(const auto warm, gpu::time_warm(work, options));
  fmt::print("{:58} cold {:9.2f} us  warm {:9.2f} us  {:7.1f} TFLOP/s {:7.1f} GB/s\n", name,
             cold.median.value, warm.median.value, flops / cold.median.value * 1e-6,
             bytes / cold.median.value * 1e-3);
  std::fflush(stdout);
  return {};
}

Result<void> scores(const std::vector<std::uint8_t>& bytes, const std::vector<float>& floats) {
  struct Shape {
    std::int64_t tokens, keys;
  };
  for (const int heads : {64, 32}) {
    for (const auto [tokens, keys] : {Shape{1, 131072},
                                      {8, 131072},
                                      {64, 8192},
                                      {256, 8192},
                                      {1024, 8192},
                                      {2048, 2048},
                                      {4096, 4096},
                                      {4096, 32768},
                                      {8192, 65536},
                                      {2048, 131072}}) {
      DSAPERF_TRY_ASSIGN(const auto q, repeated(bytes, tokens * heads * 128));
      DSAPERF_TRY_ASSIGN(const auto k, repeated(bytes, keys * 128));
      DSAPERF_TRY_ASSIGN(const auto weights, repeated(floats, tokens * heads));
      DSAPERF_TRY_ASSIGN(const auto scales, repeated(std::vector<float>(1024, 0.75f), keys));
      DSAPERF_TRY_ASSIGN(const auto out, Array<float>::uninitialized(tokens * keys));
      for (const bool causal : {false, true}) {
        if (causal && tokens < 64) continue;
        std::vector<std::int32_t> end(tokens);
        double pairs = 0;
        for (std::int64_t t = 0; t < tokens; ++t) {
          end[t] = static_cast<std::int32_t>(causal ? keys - tokens + 1 + t : keys);
          pairs += end[t];
        }
        DSAPERF_TRY_ASSIGN(const auto d_end, Array<std::int32_t>::copy_of(end));
        DSAPERF_TRY_ASSIGN(const auto d_start, Array<std::int32_t>::filled_with_byte(tokens, 0));
        const kernels::IndexerScoresParams params{.q = q.data(),
                                                  .weights = weights.data(),
                                                  .k = k.data(),
                                                  .k_scales = scales.data(),
                                                  .start = d_start.data(),
                                                  .end = d_end.data(),
                                                  .scores = out.data(),
                                                  .tokens = tokens,
                                                  .keys = keys,
                                                  .heads = heads,
                                                  .dim = 128,
                                                  .scores_stride = keys};
        DSAPERF_TRY(report(
            fmt::format("scores h{} {} x {} {}", heads, tokens, keys, causal ? "causal" : "full"),
            [&](CUstream_st* s) { return kernels::indexer_scores(params, s); },
            2.0 * 128 * heads * pairs, 4 * pairs));
      }
    }
  }
  return {};
}

Result<void> paged(const std::vector<std::uint8_t>& bytes, const std::vector<float>& floats) {
  struct Shape {
    std::int64_t batch, context;
  };
  constexpr int kHeads = 64;
  for (const int q_len : {1, 2, 3, 4, 8}) {
    for (const auto [batch, context] : {Shape{1, 4096},
                                        {1, 32768},
                                        {1, 131072},
                                        {8, 32768},
                                        {32, 32768},
                                        {64, 8192},
                                        {128, 4096},
                                        {128, 32768},
                                        {32, 131072},
                                        {128, 131072}}) {
      const std::int64_t page_count = batch * context / 64;
      DSAPERF_TRY_ASSIGN(const auto pages, repeated(bytes, page_count * kernels::kIndexPageBytes));
      DSAPERF_TRY_ASSIGN(const auto q, repeated(bytes, batch * q_len * kHeads * 128));
      DSAPERF_TRY_ASSIGN(const auto weights, repeated(floats, batch * q_len * kHeads));
      DSAPERF_TRY_ASSIGN(const auto lengths, Array<std::int32_t>::copy_of(std::vector<std::int32_t>(
                                                 batch, static_cast<std::int32_t>(context))));
      std::vector<std::int32_t> table(page_count);
      for (std::int64_t i = 0; i < page_count; ++i) table[i] = static_cast<std::int32_t>(i);
      DSAPERF_TRY_ASSIGN(const auto d_table, Array<std::int32_t>::copy_of(table));
      DSAPERF_TRY_ASSIGN(const auto out, Array<float>::uninitialized(batch * q_len * context));
      const kernels::PagedIndexerScoresParams params{.q = q.data(),
                                                     .weights = weights.data(),
                                                     .pages = pages.data(),
                                                     .block_table = d_table.data(),
                                                     .context_length = lengths.data(),
                                                     .scores = out.data(),
                                                     .batch = batch,
                                                     .q_len = q_len,
                                                     .heads = kHeads,
                                                     .dim = 128,
                                                     .max_context = context,
                                                     .page_stride_bytes = kernels::kIndexPageBytes,
                                                     .block_table_stride = context / 64,
                                                     .scores_stride = context};
      const double pairs = static_cast<double>(batch) * q_len * static_cast<double>(context);
      DSAPERF_TRY(report(
          fmt::format("paged h{} q{} {} x {}", kHeads, q_len, batch, context),
          [&](CUstream_st* s) { return kernels::paged_indexer_scores(params, nullptr, 0, s); },
          2.0 * 128 * kHeads * pairs, 132.0 * pairs / q_len + 4 * pairs));
    }
  }
  return {};
}

Result<void> topk(const std::vector<float>& floats, bool plans) {
  struct Shape {
    std::int64_t rows, columns;
  };
  auto tied = floats;
  for (auto& value : tied) value = std::max(value - 1.5f, 0.0f);
  for (const auto& [name, pattern] : {std::pair{"normal", &floats}, {"relu_ties", &tied}}) {
    for (const auto [rows, columns] : {Shape{1, 4096},
                                       {32, 4096},
                                       {128, 4096},
                                       {4096, 4096},
                                       {1, 32768},
                                       {8, 32768},
                                       {32, 32768},
                                       {64, 32768},
                                       {128, 32768},
                                       {1024, 32768},
                                       {4096, 32768},
                                       {1, 131072},
                                       {8, 131072},
                                       {32, 131072},
                                       {128, 131072},
                                       {1024, 131072},
                                       {4096, 131072},
                                       {1, 1048576}}) {
      DSAPERF_TRY_ASSIGN(const auto x, repeated(*pattern, rows * columns));
      DSAPERF_TRY_ASSIGN(const auto out, Array<std::int32_t>::uninitialized(rows * 2048));
      const kernels::TopkParams params{.scores = x.data(),
                                       .indices = out.data(),
                                       .rows = rows,
                                       .columns = columns,
                                       .topk = 2048,
                                       .scores_stride = columns,
                                       .indices_stride = 2048};
      const double bytes = 4.0 * static_cast<double>(rows) * static_cast<double>(columns);
      const auto label = fmt::format("topk {} {} x {}", name, rows, columns);
      DSAPERF_TRY(report(
          label, [&](CUstream_st* s) { return kernels::topk(params, nullptr, 0, s); }, 0, bytes));
      if (!plans || name != std::string("normal")) continue;
      const gpu::TimingOptions quick{.warmup = 1, .cold_samples = 5, .warm_samples = 3};
      const auto chosen = kernels::sm90::plan_topk(rows, columns, 2048, 132);
      std::vector<kernels::sm90::TopkPlan> tried;
      if (columns <= 8192) {
        tried = {{.threads = 256, .in_registers = 16},
                 {.threads = 512, .in_registers = 8},
                 {.threads = 1024, .in_registers = 8}};
      } else {
        for (const int threads : {256, 512, 1024}) {
          for (const int cluster : {1, 2, 4, 8, 16}) {
            if (rows * cluster > 4096 || columns / cluster < 4096) continue;
            if (rows * cluster > 256 && cluster > 1) continue;
            auto plan = chosen;
            plan.threads = threads;
            plan.cluster = cluster;
            tried.push_back(plan);
          }
        }
      }
      for (const auto& plan : tried) {
        DSAPERF_TRY(report(
            fmt::format("  {} x {} threads {} cluster {} capacity {}", rows, columns, plan.threads,
                        plan.cluster, plan.capacity),
            [&](CUstream_st* s) { return kernels::topk_planned(params, plan, nullptr, 0, s); }, 0,
            bytes, quick));
      }
    }
  }
  return {};
}

Result<void> run(const std::set<std::string>& parts) {
  const auto floats = normal_floats(std::size_t{1} << 22);
  const auto bytes = normal_bytes(std::size_t{1} << 23);
  const auto wanted = [&](const char* part) { return parts.empty() || parts.contains(part); };
  if (wanted("scores")) DSAPERF_TRY(scores(bytes, floats));
  if (wanted("paged")) DSAPERF_TRY(paged(bytes, floats));
  if (wanted("topk")) DSAPERF_TRY(topk(floats, parts.contains("plans")));
  return {};
}

}  // namespace
}  // namespace dsaperf

int main(int argc, char** argv) {
  const auto done = dsaperf::run({argv + 1, argv + argc});
  if (!done) {
    std::fprintf(stderr, "error: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
