#include "dsaperf/perfdb/operator_tables.hpp"

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/perfdb/chosen_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

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

TEST(OperatorTablesTest, ExpertsOfOneModelAreThoseOfTheWholeTable) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const MoeChoice choice{
      .dtype = "fp8_block", .hidden = 7168, .inter = 2048, .topk = 8, .experts = 256};
  const auto all = load_moe_table(*tree, "h200_sxm", "sglang", "0.5.14");
  const auto chosen =
      load_moe_rows(*tree, "h200_sxm", "sglang", "0.5.14", "moe_perf.parquet", choice);
  ASSERT_TRUE(all) << all.error().message();
  ASSERT_TRUE(chosen) << chosen.error().message();
  const auto kind = [](const MoeTable& table, const MoeRow& row) {
    return table.kinds[static_cast<std::size_t>(row.kind)];
  };
  auto of_all = all->rows;
  std::erase_if(of_all, [&](const MoeRow& row) {
    return kind(*all, row).moe_dtype != choice.dtype || row.hidden != choice.hidden ||
           row.inter != choice.inter || row.topk != choice.topk || row.experts != choice.experts;
  });
  ASSERT_GT(of_all.size(), 1000U);
  ASSERT_EQ(chosen->rows.size(), of_all.size());
  for (std::size_t i = 0; i < of_all.size(); ++i) {
    const auto& a = of_all[i];
    const auto& b = chosen->rows[i];
    ASSERT_EQ(kind(*all, a), kind(*chosen, b)) << i;
    ASSERT_EQ(std::tie(a.source, a.tokens, a.hidden, a.inter, a.topk, a.experts, a.moe_tp, a.moe_ep,
                       a.latency.value),
              std::tie(b.source, b.tokens, b.hidden, b.inter, b.topk, b.experts, b.moe_tp, b.moe_ep,
                       b.latency.value))
        << i;
  }
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
