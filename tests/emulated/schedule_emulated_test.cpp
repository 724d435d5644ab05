// The part of the work that a warp finds: the same from costs and from lengths, and where a walk
// along all groups comes to.
#include "dsaperf/kernels/sm90/indexer_scores/schedule.cuh"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr unsigned kCtas = 7;

template <class Config>
void expect_same_parts(const std::vector<std::int32_t>& lengths, int q_len, int keys) {
  const ScoresArguments arguments{.context_length = lengths.data(),
                                  .groups = static_cast<std::int32_t>(lengths.size()),
                                  .rows = static_cast<std::int32_t>(lengths.size()) * q_len,
                                  .q_len = q_len,
                                  .keys = keys};
  std::vector<LinePart> by_costs(kCtas), by_lengths(kCtas);
  emulated::launch(kCtas, Config::kThreads, 1, 1, [&] {
    const GroupCosts costs{reinterpret_cast<std::int32_t*>(dynamic_shared)};
    compute_costs<Config>(arguments, costs);
    __syncthreads();
    if (threadIdx.x >= 32) return;
    const LinePart part = part_from_costs(arguments, costs);
    if (threadIdx.x == 0) by_costs[blockIdx.x] = part;
  });
  emulated::launch(kCtas, 32, 1, 1, [&] {
    const LinePart part = part_from_lengths<Config>(arguments);
    if (threadIdx.x == 0) by_lengths[blockIdx.x] = part;
  });
  int end = 0;
  for (unsigned i = 0; i < kCtas; ++i) {
    EXPECT_EQ(by_lengths[i].begin, by_costs[i].begin);
    EXPECT_EQ(by_lengths[i].end, by_costs[i].end);
    EXPECT_EQ(by_lengths[i].begin, end) << "parts do not join";
    end = by_lengths[i].end;
    if (by_costs[i].begin == by_costs[i].end) {
      EXPECT_EQ(by_lengths[i].group, arguments.groups);
      continue;
    }
    EXPECT_EQ(by_lengths[i].group, by_costs[i].group) << lengths.size() << " requests, CTA " << i;
    EXPECT_EQ(by_lengths[i].at, by_costs[i].at) << lengths.size() << " requests, CTA " << i;
  }
}

TEST(ScheduleEmulatedTest, EveryPositionOfALineIsInOnePart) {
  for (const unsigned parts : {1u, 7u, 132u}) {
    for (const int total : {1, 6, 7, 8, 131, 132, 133, 1000}) {
      EXPECT_EQ(share(total, 0, parts), 0);
      EXPECT_EQ(share(total, parts, parts), total);
      for (unsigned part = 0; part < parts; ++part) {
        const int begin = share(total, part, parts), end = share(total, part + 1, parts);
        EXPECT_LE(end - begin, (total + static_cast<int>(parts) - 1) / static_cast<int>(parts));
        for (int at = begin; at < end; ++at)
          EXPECT_EQ(part_with(at, total, parts), static_cast<int>(part));
      }
    }
  }
}

TEST(KeysGivenUpTest, LeavesAsManyInL2AsFit) {
  EXPECT_EQ(keys_given_up(0), 0);
  EXPECT_EQ(keys_given_up(16'000'000), 0);
  EXPECT_NEAR(keys_given_up(33'333'333), 0.5f, 1e-6f);
  EXPECT_EQ(keys_given_up(50'000'001), 1);
  EXPECT_EQ(keys_given_up(std::int64_t{8192} << 30), 1);
}

// Prefill, against the rows one by one; limits that are not 16-byte aligned too.
template <class Config>
void expect_costs(int rows, int offset) {
  constexpr int kKeys = 5000;
  std::mt19937 engine(static_cast<unsigned>(rows));
  std::vector<std::int32_t> start(rows + offset), end(rows + offset);
  for (int i = 0; i < rows + offset; ++i) {
    start[i] = static_cast<std::int32_t>(engine() % kKeys) - 50;
    end[i] = engine() % 5 == 0 ? start[i] : static_cast<std::int32_t>(engine() % (2 * kKeys));
  }
  const int groups = (rows + Config::kGroupRows - 1) / Config::kGroupRows;
  const ScoresArguments arguments{.start = start.data() + offset,
                                  .end = end.data() + offset,
                                  .groups = groups,
                                  .rows = rows,
                                  .keys = kKeys};
  std::vector<int> found(groups);
  emulated::launch(1, Config::kThreads, 1, 1, [&] {
    const GroupCosts costs{reinterpret_cast<std::int32_t*>(dynamic_shared)};
    compute_costs<Config>(arguments, costs);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < groups; i += Config::kThreads)
      found[i] = costs[i];
  });
  for (int group = 0; group < groups; ++group) {
    int first = kKeys, last = 0;
    for (int row = group * Config::kGroupRows;
         row < std::min((group + 1) * Config::kGroupRows, rows); ++row) {
      const int from = std::max(arguments.start[row], 0), to = std::min(arguments.end[row], kKeys);
      if (from >= to) continue;
      first = std::min(first, from);
      last = std::max(last, to);
    }
    const int tiles = last == 0 ? 0 : (last - first / 8 * 8 + 63) / 64;
    EXPECT_EQ(found[group], tiles == 0 ? 0 : tiles + kGroupCost)
        << "group " << group << " of " << rows << " rows";
  }
}

TEST(ScheduleEmulatedTest, CostsOfPrefillAreThoseOfItsRows) {
  for (const int rows : {1, 2, 7, 64, 333, 2048, 13001}) {
    for (const int offset : {0, 4, 1}) {
      expect_costs<ScoresConfig<64, kPrefillColumns, true, false>>(rows, offset);
      expect_costs<ScoresConfig<32, kPrefillColumns, true, false>>(rows, offset);
      expect_costs<ScoresConfig<8, kPrefillColumns, true, false>>(rows, offset);
    }
  }
}

// Against a walk along the line.
TEST(ScheduleEmulatedTest, AWarpFindsItsPartAmongTheCostsOfAnyNumberOfGroups) {
  std::mt19937 engine(3);
  for (const int groups : {1, 31, 256, 1000, 3000, kMaxGroups}) {
    std::vector<std::int32_t> given(groups);
    for (auto& cost : given) cost = engine() % 3 == 0 ? 0 : static_cast<std::int32_t>(engine() % 9);
    const int total = std::accumulate(given.begin(), given.end(), 0);
    std::vector<LinePart> found(kCtas);
    emulated::launch(kCtas, 32, 1, 1, [&] {
      const GroupCosts costs{reinterpret_cast<std::int32_t*>(dynamic_shared)};
      for (int group = static_cast<int>(threadIdx.x); group < groups; group += 32)
        costs[group] = given[group];
      __syncwarp();
      const LinePart part = part_from_costs({.groups = groups}, costs);
      if (threadIdx.x == 0) found[blockIdx.x] = part;
    });
    for (unsigned cta = 0; cta < kCtas; ++cta) {
      const int begin = share(total, cta, kCtas), end = share(total, cta + 1, kCtas);
      EXPECT_EQ(found[cta].begin, begin);
      EXPECT_EQ(found[cta].end, end);
      int group = 0, at = 0;
      while (group < groups && (begin == end || at + given[group] <= begin)) at += given[group++];
      EXPECT_EQ(found[cta].group, group) << groups << " groups, CTA " << cta;
      if (begin == end) continue;
      EXPECT_EQ(found[cta].at, at) << groups << " groups, CTA " << cta;
    }
  }
}

TEST(ScheduleEmulatedTest, AProducerAloneFindsThePartThatItsCtaFinds) {
  using OneRow = ScoresConfig<64, 64, false, true, true>;
  using TwoRows = ScoresConfig<32, 64, false, true, true>;
  std::mt19937 engine(7);
  for (const std::size_t requests : {1, 2, 31, 33, 100, 256}) {
    for (const int kind : {0, 1, 2, 3}) {
      std::vector<std::int32_t> lengths(requests);
      for (auto& length : lengths) {
        length = kind == 0   ? 4096
                 : kind == 1 ? static_cast<std::int32_t>(engine() % 5000)
                 : kind == 2
                     ? (engine() % 4 == 0 ? 100000 : static_cast<std::int32_t>(engine() % 3))
                     : 0;
      }
      if (kind == 1) lengths[0] = -5;
      expect_same_parts<OneRow>(lengths, 1, 70000);
      expect_same_parts<TwoRows>(lengths, 2, 70000);
    }
  }
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
