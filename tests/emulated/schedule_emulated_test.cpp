// A producer warp that finds its part of the work alone finds what the whole CTA finds.
#include "dsaperf/kernels/sm90/indexer_scores/schedule.cuh"

#include <gtest/gtest.h>

#include <memory>
#include <random>

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
