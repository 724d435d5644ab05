#include "dsaperf/predict/stages/part_table.hpp"

#include <gtest/gtest.h>

namespace dsaperf::predict::stages {
namespace {

perfdb::SystemFile card() {
  perfdb::SystemFile system;
  system.mem_bw = 4.8e12;
  system.rates = {{"bfloat16", 9.89e14}, {"fp8", 1.978e15}};
  system.sm_version = 90;
  return system;
}

// Decode rows of one kind; latency by batch.
perfdb::DsaTable decode(double (*ms)(int batch)) {
  perfdb::DsaTable table;
  table.phase = perfdb::Phase::kGeneration;
  table.sources.push_back({});
  table.slices.push_back({.model = "m",
                          .architecture = "DeepseekV32ForCausalLM",
                          .mla_dtype = "bfloat16",
                          .kv_dtype = "fp8",
                          .gemm_dtype = "fp8_block",
                          .op_name = "dsa_generation_module",
                          .kernel_source = "k"});
  for (const int heads : {16, 32}) {
    for (const int past : {4, 64, 1024}) {
      for (int batch = 1; batch <= 1024; batch *= 2) {
        table.rows.push_back({.heads = heads,
                              .batch = batch,
                              .new_tokens = 1,
                              .past_tokens = past,
                              .latency = Micros::from_millis(ms(batch))});
      }
    }
  }
  return table;
}

TEST(PartTableTest, SplitsDecodeWhereGraphsEnd) {
  const auto parts = parts_of(
      decode([](int batch) { return batch <= 256 ? 0.06 + 1e-4 * batch : 1.3; }), card(), "sglang");
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ((*parts)[0].setting.batch_to, 256);
  EXPECT_EQ((*parts)[1].setting.batch_from, 257);
  EXPECT_EQ((*parts)[1].observations.size(), 12U);
}

// GLM's layers beside, whose kernels take long enough that most rows do not show where graphs end.
TEST(PartTableTest, SplitsAPartWhoseKernelsHideTheStepWhereTheOthersAreSplit) {
  auto table = decode([](int batch) { return batch <= 256 ? 0.06 + 1e-4 * batch : 1.3; });
  auto slice = table.slices.front();
  slice.architecture = "GlmMoeDsaForCausalLM";
  table.slices.push_back(slice);
  for (auto row : std::vector(table.rows)) {
    row.slice = 1;
    row.latency = Micros::from_millis(std::max(5e-3 * row.batch, row.batch <= 256 ? 0.06 : 1.3));
    table.rows.push_back(row);
  }
  const auto parts = parts_of(table, card(), "sglang");
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->size(), 4U);
  for (const auto& part : *parts) {
    EXPECT_EQ(part.setting.batch_to < 257, part.setting.batch_from == 1) << part.kind.architecture;
  }
}

// Batches of 512 and 1,024 take the host 0.3 ms: twice what the replayed rows leave to kernels, and
// too little to be told from kernels by their usual time.
TEST(PartTableTest, FindsTheHostsTimeBesideReplayedRows) {
  const auto table = decode([](int batch) { return batch <= 256 ? 0.03 + 1e-5 * batch : 0.3; });
  auto parts = parts_of(table, card(), "sglang");
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->size(), 2U);
  look_at_rows(*parts, table, "sglang");
  EXPECT_EQ((*parts)[0].host_floor_ms, 0);
  EXPECT_DOUBLE_EQ((*parts)[1].host_floor_ms, 0.3);
}

// 16 heads are the most of their part, and 32 the least of theirs, but neither of the table.
TEST(PartTableTest, NotesHeadsThatAnotherKernelServes) {
  auto table = decode([](int) { return 0.1; });
  auto parts = parts_of(table, card(), "sglang");
  ASSERT_EQ(parts->size(), 1U);
  EXPECT_FALSE((*parts)[0].setting.fewer_heads || (*parts)[0].setting.more_heads);
  auto slice = table.slices.front();
  slice.kernel_source = "another";
  table.slices.push_back(slice);
  for (auto& row : table.rows) row.slice = row.heads == 32 ? 1 : 0;
  parts = parts_of(table, card(), "sglang");
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_FALSE((*parts)[0].setting.fewer_heads);
  EXPECT_TRUE((*parts)[0].setting.more_heads);
  EXPECT_TRUE((*parts)[1].setting.fewer_heads);
  EXPECT_FALSE((*parts)[1].setting.more_heads);
}

TEST(PartTableTest, LeavesASteadyRiseWhole) {
  const auto parts =
      parts_of(decode([](int batch) { return 0.06 + 1e-3 * batch; }), card(), "sglang");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->size(), 1U);
}

TEST(PartTableTest, SplitsAtTopkAndTakesVllmsExtraTokenBack) {
  auto table = decode([](int) { return 0.1; });
  table.rows = {{.heads = 16, .batch = 1, .new_tokens = 1, .past_tokens = 2048, .latency = {100}},
                {.heads = 16, .batch = 1, .new_tokens = 1, .past_tokens = 2047, .latency = {100}}};
  EXPECT_EQ(parts_of(table, card(), "sglang")->size(), 2U);
  const auto vllm = parts_of(table, card(), "vllm");
  ASSERT_EQ(vllm->size(), 1U);
  EXPECT_EQ(vllm->front().setting.regime, Regime::kDense);
  EXPECT_EQ(vllm->front().observations.back().sizes.past_tokens, 2047);
}

TEST(PartTableTest, AnotherLatencyIsAnotherHash) {
  auto table = decode([](int batch) { return 0.06 + 1e-3 * batch; });
  const auto before = parts_of(table, card(), "sglang")->front().hash;
  EXPECT_EQ(parts_of(table, card(), "sglang")->front().hash, before);
  table.rows[5].latency.value *= 1.001;
  EXPECT_NE(parts_of(table, card(), "sglang")->front().hash, before);
}

}  // namespace
}  // namespace dsaperf::predict::stages
