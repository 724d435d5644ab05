#include "dsaperf/perfdb/operator_tables.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace dsaperf::perfdb {
namespace {

using dsaperf::testing::kNoSystems;
using dsaperf::testing::systems_tree;

TEST(OperatorTablesTest, ReadsWhatSglangHasOnH200) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto gemm = load_gemm_table(*tree, "h200_sxm", "sglang", "0.5.14");
  ASSERT_TRUE(gemm) << gemm.error().message();
  EXPECT_EQ(gemm->rows.size(), 101010U);
  const auto reduce = load_allreduce_table(*tree, "h200_sxm", "sglang", "0.5.14");
  ASSERT_TRUE(reduce) << reduce.error().message();
  EXPECT_EQ(std::count_if(reduce->rows.begin(), reduce->rows.end(),
                          [](const CommRow& row) { return row.source == 0; }),
            138);
  const auto mla =
      load_mla_table(*tree, "h200_sxm", "sglang", "0.5.14", "context_mla_perf.parquet");
  ASSERT_TRUE(mla) << mla.error().message();
  EXPECT_EQ(mla->rows.size(), 1760U);
  const auto bmm = load_mla_bmm_table(*tree, "h200_sxm", "sglang", "0.5.14");
  ASSERT_TRUE(bmm) << bmm.error().message();
  EXPECT_EQ(bmm->rows.size(), 848U);
  const auto moe = load_moe_table(*tree, "h200_sxm", "sglang", "0.5.14");
  ASSERT_TRUE(moe) << moe.error().message();
  EXPECT_GE(moe->rows.size(), 99713U);
}

TEST(OperatorTablesTest, CollectivesComeFromTheFolderThatTheSystemNames) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto nccl = load_collective_table(*tree, "h200_sxm", "nccl");
  ASSERT_TRUE(nccl) << nccl.error().message();
  EXPECT_EQ(nccl->sources.front().version, "2.26.2");
  EXPECT_EQ(nccl->rows.size(), 1008U);
}

TEST(OperatorTablesTest, ExchangesOfExpertsAreInMicroseconds) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto exchange = load_moe_a2a_table(*tree, "h200_sxm", "vllm", "0.24.0");
  ASSERT_TRUE(exchange) << exchange.error().message();
  EXPECT_EQ(exchange->rows.size(), 324U);
  for (const auto& row : exchange->rows) EXPECT_LT(row.latency.value, 1e5);
}

TEST(OperatorTablesTest, SaysWhichTableIsMissing) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto none =
      load_mla_table(*tree, "h200_sxm", "sglang", "0.5.14", "mla_context_module_perf.parquet");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace dsaperf::perfdb
