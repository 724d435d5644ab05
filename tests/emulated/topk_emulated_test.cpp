// The top-k kernels on emulated CTAs: exact on every distribution, whatever the order of threads.
#include "dsaperf/kernels/sm90/topk/kernel.cuh"
#include "dsaperf/kernels/sm90/topk/short_kernel.cuh"
#include "dsaperf/kernels/sm90/topk/spread_kernel.cuh"
#include "dsaperf/kernels/testing/topk_rows.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr std::int32_t kPoison = -77;

using Kernel = std::function<void(const TopkArguments&, int rows)>;

struct Call {
  int topk = 128;
  int capacity = 512;
  int window = 4096;
  int padding = 5;                    // of a row of scores: every alignment
  std::vector<std::int32_t> start{};  // empty: 0
};

void expect_exact(const std::vector<std::vector<float>>& rows, const Call& call,
                  const Kernel& kernel, const std::string& what) {
  const int count = static_cast<int>(rows.size());
  std::vector<std::int32_t> start(rows.size(), 0), end(rows.size());
  std::int64_t columns = 0;
  for (int r = 0; r < count; ++r) {
    if (!call.start.empty()) start[r] = call.start[r];
    end[r] = start[r] + static_cast<std::int32_t>(rows[r].size());
    columns = std::max<std::int64_t>(columns, end[r]);
  }
  const std::int64_t stride = (columns + 3) / 4 * 4 + call.padding;
  // 16-byte aligned, as memory of a device is.
  std::vector<uint4> memory((count * stride + 3) / 4);
  auto* scores = reinterpret_cast<float*>(memory.data());
  std::fill_n(scores, count * stride, std::numeric_limits<float>::infinity());
  for (int r = 0; r < count; ++r) std::ranges::copy(rows[r], scores + r * stride + start[r]);
  const std::int64_t out_stride = call.topk + 3;
  std::vector<std::int32_t> out((count + 2) * out_stride, kPoison);
  const TopkArguments arguments{.scores = scores,
                                .start = call.start.empty() ? nullptr : start.data(),
                                .end = end.data(),
                                .indices = out.data() + out_stride,
                                .scores_stride = stride,
                                .indices_stride = out_stride,
                                .rows = count,
                                .columns = static_cast<std::int32_t>(columns),
                                .topk = call.topk,
                                .capacity = call.capacity,
                                .window = call.window,
                                .rows_per_end = 1};
  kernel(arguments, count);
  for (int r = 0; r < count; ++r) {
    const auto begin = out.begin() + (r + 1) * out_stride;
    const std::vector<std::int32_t> got(begin, begin + call.topk);
    ASSERT_EQ(got, testing::expected_positions(rows[r].data(), std::ssize(rows[r]), call.topk))
        << what << ", row " << r;
  }
  for (std::int64_t i = 0; i < std::ssize(out); ++i) {
    if (i >= out_stride && i < (count + 1) * out_stride && i % out_stride < call.topk) continue;
    ASSERT_EQ(out[i], kPoison) << what << ": wrote outside the lists, at " << i;
  }
}

template <int kThreads, int kValues>
Kernel spread(int cluster, unsigned seed = 1) {
  return [=](const TopkArguments& arguments, int rows) {
    emulated::launch(rows * cluster, kThreads, cluster, seed,
                     [&] { spread_topk_kernel<kThreads, kValues>(arguments); });
  };
}

TEST(SpreadTopkEmulatedTest, IsExactOnEveryDistributionAtEveryClusterSize) {
  for (const auto& d : testing::distributions()) {
    for (const int cluster : {1, 4, 16}) {
      const std::int64_t most = cluster * 128 * 4;
      expect_exact(testing::rows_of(d, {1, 128, 129, most / 2 + 1, most}), {},
                   spread<128, 4>(cluster), d.name + ", cluster " + std::to_string(cluster));
    }
  }
}

TEST(SpreadTopkEmulatedTest, AgreesForEveryOrderOfThreads) {
  const auto all = testing::distributions();
  for (unsigned seed = 0; seed < 5; ++seed) {
    for (const std::size_t d : {0, 1, 4, 10}) {
      expect_exact(testing::rows_of(all[d], {3000, 4001}), {.topk = 600}, spread<128, 8>(4, seed),
                   all[d].name + ", seed " + std::to_string(seed));
    }
  }
}

TEST(SpreadTopkEmulatedTest, TakesEveryTopkAndStart) {
  const auto all = testing::distributions();
  for (const int topk : {1, 64, 1000, 2048}) {
    for (const std::size_t d : {0, 1, 6}) {
      expect_exact(testing::rows_of(all[d], {4096, 63, 2049, 4090}),
                   {.topk = topk, .padding = 0, .start = {0, 1, 2, 3}}, spread<256, 4>(8),
                   all[d].name + ", topk " + std::to_string(topk));
    }
  }
}

// Both launches, one after the other.
Kernel in_segments(int segments, int cluster, int selecting_cluster, unsigned seed = 1) {
  return [=](const TopkArguments& whole, int rows) {
    auto arguments = whole;
    const int columns = (whole.columns + segments - 1) / segments;
    std::vector<float> scores(rows * segments * whole.topk);
    std::vector<std::int32_t> indices(scores.size());
    arguments.segments = segments;
    arguments.segment_columns = (columns + 3) / 4 * 4;
    arguments.segment_scores = scores.data();
    arguments.segment_indices = indices.data();
    emulated::launch(rows * segments * cluster, 128, cluster, seed,
                     [&] { spread_topk_kernel<128, 8, SpreadRows::kSegments>(arguments); });
    emulated::launch(rows * selecting_cluster, 128, selecting_cluster, seed,
                     [&] { spread_topk_kernel<128, 4, SpreadRows::kSelected>(arguments); });
  };
}

TEST(SegmentsTopkEmulatedTest, AreExactOnEveryDistribution) {
  for (const auto& d : testing::distributions()) {
    expect_exact(testing::rows_of(d, {6000, 4096, 2049, 128, 129, 1, 2048 + 127}),
                 {.topk = 128, .start = {1, 0, 2, 3, 0, 1, 2}}, in_segments(3, 2, 1), d.name);
  }
}

TEST(SegmentsTopkEmulatedTest, AgreeForEveryOrderOfThreadsAndTopk) {
  const auto all = testing::distributions();
  for (unsigned seed = 0; seed < 4; ++seed)
    for (const std::size_t d : {0, 1, 6, 10})
      for (const int topk : {64, 500})
        expect_exact(testing::rows_of(all[d], {4000, 3001, 1025}), {.topk = topk, .padding = 0},
                     in_segments(4, 1, 4, seed), all[d].name + ", topk " + std::to_string(topk));
}

template <int kThreads>
Kernel in_stream(int cluster) {
  return [=](const TopkArguments& arguments, int rows) {
    emulated::launch(rows * cluster, kThreads, cluster, 1,
                     [&] { topk_kernel<kThreads>(arguments); });
  };
}

TEST(StreamTopkEmulatedTest, IsExactOnEveryDistribution) {
  for (const auto& d : testing::distributions()) {
    for (const int cluster : {1, 4}) {
      expect_exact(testing::rows_of(d, {100, 9000, 2300}), {}, in_stream<256>(cluster),
                   d.name + ", cluster " + std::to_string(cluster));
    }
  }
}

// With 1024 threads, which keep candidates in registers as long as they fit.
TEST(StreamTopkEmulatedTest, IsExactWithCandidatesInRegisters) {
  for (const auto& d : testing::distributions()) {
    for (const int topk : {128, 2048})
      expect_exact(testing::rows_of(d, {20000, 9001}), {.topk = topk, .capacity = 8192},
                   in_stream<1024>(1), d.name + ", topk " + std::to_string(topk));
  }
}

template <int kThreads, int kValues>
Kernel in_one_cta(unsigned seed = 1) {
  return [=](const TopkArguments& arguments, int rows) {
    emulated::launch(rows, kThreads, 1, seed,
                     [&] { short_topk_kernel<kThreads, kValues>(arguments); });
  };
}

TEST(ShortTopkEmulatedTest, IsExactOnEveryDistribution) {
  for (const auto& d : testing::distributions()) {
    expect_exact(testing::rows_of(d, {4096, 0, 129, 3001}), {}, in_one_cta<256, 16>(), d.name);
    expect_exact(testing::rows_of(d, {4095, 2049, 2048}), {.topk = 2048}, in_one_cta<512, 8>(2),
                 d.name);
  }
}

TEST(ShortTopkEmulatedTest, TakesEveryTopkAndStart) {
  const auto all = testing::distributions();
  for (const int topk : {1, 63, 1000, 2048}) {
    for (const std::size_t d : {0, 1, 6, 10}) {
      expect_exact(testing::rows_of(all[d], {4096, 63, 2049, 4090}),
                   {.topk = topk, .padding = 0, .start = {0, 1, 2, 3}}, in_one_cta<512, 8>(),
                   all[d].name + ", topk " + std::to_string(topk));
    }
  }
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
