#include "dsaperf/cost/system_spec.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

namespace dsaperf::cost {
namespace {

const std::filesystem::path kData = DSAPERF_SOURCE_DIR "/data";

constexpr auto kMinimal = R"(format: dsaperf.system.1
name: x
device: X
memory: {capacity_bytes: 1000, bytes_per_s: 10}
peak_flop_per_s: {bf16: 100}
interconnect: {gpus_per_node: 8, intra_node_bytes_per_s: 4, inter_node_bytes_per_s: 2, latency_us: 1}
reserve: {runtime_bytes: 5, nccl_bytes: {1: 0, 2: 7, 8: 9}}
sources: [a test]
)";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(SystemSpecTest, AnUnstatedRateStaysUnknown) {
  const auto spec = parse_system(kMinimal);
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->peak(MathFormat::kBf16), 100);
  EXPECT_EQ(spec->peak(MathFormat::kFp8), std::nullopt);
  EXPECT_EQ(spec->sms, std::nullopt);
}

TEST(SystemSpecTest, LaunchTimesOfAHostAreByFramework) {
  EXPECT_TRUE(parse_system(kMinimal)->host_launch.empty());
  const auto text = std::string(kMinimal) + "host_launch: {sglang: 1.5}\n";
  EXPECT_EQ(parse_system(text)->host_launch.at("sglang"), 1.5);
  EXPECT_FALSE(parse_system(replaced(text, "1.5", "0")));
}

TEST(SystemSpecTest, BuffersAreThoseOfTheNextSmallerCommunicator) {
  const auto spec = parse_system(kMinimal);
  EXPECT_EQ(spec->nccl(1), Bytes{0});
  EXPECT_EQ(spec->nccl(4), Bytes{7});
  EXPECT_EQ(spec->nccl(64), Bytes{9});
}

TEST(SystemSpecTest, EveryShippedSystemReads) {
  const auto names = system_names(kData);
  ASSERT_TRUE(names);
  EXPECT_GE(names->size(), 16U);
  for (const auto& name : *names) {
    const auto spec = find_system(kData, name);
    ASSERT_TRUE(spec) << spec.error().message();
    EXPECT_EQ(spec->name, name);
    EXPECT_FALSE(spec->sources.empty());
    EXPECT_TRUE(spec->peak(MathFormat::kBf16));
  }
}

TEST(SystemSpecTest, ShippedFiguresAreThoseOfTheirSource) {
  const auto tree = dsaperf::testing::systems_tree();
  if (!tree) GTEST_SKIP() << dsaperf::testing::kNoSystems;
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*tree)) {
    if (entry.path().extension() != ".yaml") continue;
    const auto theirs = YAML::LoadFile(entry.path().native());
    if (!theirs["gpu"]) continue;
    const auto ours = find_system(kData, entry.path().stem().native());
    ASSERT_TRUE(ours) << ours.error().message();
    EXPECT_EQ(ours->hbm_bytes_per_s, theirs["gpu"]["mem_bw"].as<double>());
    EXPECT_EQ(ours->hbm_capacity.value, theirs["gpu"]["mem_capacity"].as<std::int64_t>());
    const auto rate = [&](const char* key) {
      const auto node = theirs["gpu"][key];
      return node ? std::optional(node.as<double>()) : std::nullopt;
    };
    EXPECT_EQ(ours->peak(MathFormat::kBf16), rate("bfloat16_tc_flops"));
    EXPECT_EQ(ours->peak(MathFormat::kFp8), rate("fp8_tc_flops"));
    EXPECT_EQ(ours->peak(MathFormat::kInt8), rate("int8_tc_flops"));
    EXPECT_EQ(ours->peak(MathFormat::kFp4), rate("fp4_tc_flops"));
    EXPECT_EQ(ours->interconnect.intra_node_bytes_per_s,
              theirs["node"]["intra_node_bw"].as<double>());
    ++compared;
  }
  EXPECT_GE(compared, 14);
}

TEST(SystemSpecTest, WrongDocumentsAreNamedByKey) {
  using ::testing::HasSubstr;
  const auto message = [](const std::string& yaml) { return parse_system(yaml).error().message(); };
  EXPECT_THAT(message(replaced(kMinimal, "bytes_per_s: 10", "bytes_per_s: -1")),
              HasSubstr("memory.bytes_per_s"));
  EXPECT_THAT(message(replaced(kMinimal, "bf16: 100", "bf16: .nan")),
              HasSubstr("peak_flop_per_s.bf16"));
  EXPECT_THAT(message(replaced(kMinimal, "bf16: 100", "bf16: fast")), HasSubstr("line 5"));
  EXPECT_THAT(message(replaced(kMinimal, "capacity_bytes: 1000, ", "")),
              HasSubstr("memory.capacity_bytes is missing"));
  EXPECT_THAT(message(replaced(kMinimal, "system.1", "system.2")), HasSubstr("dsaperf.system.2"));
  EXPECT_THAT(message("[1, 2]"), HasSubstr("not a map"));
  EXPECT_THAT(message("a: [1"), HasSubstr("line"));
  EXPECT_THAT(message(""), HasSubstr("not a map"));
}

TEST(SystemSpecTest, AnUnknownNameListsTheKnown) {
  const auto spec = find_system(kData, "h300");
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code(), Errc::kNotFound);
  EXPECT_THAT(spec.error().message(), ::testing::HasSubstr("h200_sxm"));
}

TEST(InterconnectTest, TheSlowestLinkCounts) {
  const auto spec = find_system(kData, "gb200");
  EXPECT_EQ(spec->interconnect.bytes_per_s(4), 900e9);
  EXPECT_EQ(spec->interconnect.bytes_per_s(72), 900e9);
  EXPECT_EQ(spec->interconnect.bytes_per_s(73), 100e9);
}

}  // namespace
}  // namespace dsaperf::cost
