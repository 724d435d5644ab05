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
  EXPECT_EQ((*parts)[0].batch_to, 256);
  EXPECT_EQ((*parts)[1].batch_from, 257);
  EXPECT_EQ((*parts)[1].observations.size(), 12U);
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
