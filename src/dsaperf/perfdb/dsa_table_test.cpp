#include "dsaperf/perfdb/dsa_table.hpp"

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/perfdb/chosen_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace dsaperf::perfdb {
namespace {

using dsaperf::testing::kNoSystems;
using dsaperf::testing::systems_tree;

TEST(DsaTableTest, HoldsEveryRowOfSglangsPrefillTable) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto table = load_dsa_table(*tree, "h200_sxm", "sglang", "0.5.14", Phase::kContext);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(table->rows.size(), 81836U);
  const auto shared = std::count_if(table->rows.begin(), table->rows.end(), [&](const DsaRow& row) {
    return table->slices[static_cast<std::size_t>(row.slice)].shares_selection;
  });
  EXPECT_EQ(shared, 35148);
  const auto& first = table->rows.front();
  EXPECT_EQ(first.heads, 128);
  EXPECT_EQ(first.new_tokens, 4);
  EXPECT_DOUBLE_EQ(first.latency.millis(), 0.7821);
}

TEST(DsaTableTest, RowsOfOneChoiceAreThoseOfTheWholeTable) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  // Of TensorRT-LLM the table has several sources.
  for (const auto& [backend, version] :
       {std::pair("sglang", "0.5.14"), std::pair("trtllm", "1.3.0rc23")}) {
    const DsaChoice choice{.architecture = "DeepseekV32ForCausalLM",
                           .mla_dtype = "bfloat16",
                           .kv_dtype = "bfloat16",
                           .gemm_dtype = "fp8_block"};
    const auto all = load_dsa_table(*tree, "h200_sxm", backend, version, Phase::kGeneration);
    const auto chosen =
        load_dsa_rows(*tree, "h200_sxm", backend, version, Phase::kGeneration, choice);
    ASSERT_TRUE(all) << all.error().message();
    ASSERT_TRUE(chosen) << chosen.error().message();
    EXPECT_EQ(chosen->sources.size(), all->sources.size());
    const auto slice = [](const DsaTable& table, const DsaRow& row) {
      return table.slices[static_cast<std::size_t>(row.slice)];
    };
    auto of_all = all->rows;
    std::erase_if(of_all, [&](const DsaRow& row) {
      const auto& of = slice(*all, row);
      return of.architecture != choice.architecture || of.mla_dtype != choice.mla_dtype ||
             of.kv_dtype != choice.kv_dtype || of.gemm_dtype != choice.gemm_dtype;
    });
    ASSERT_GT(of_all.size(), 100U) << backend;
    ASSERT_LT(of_all.size(), all->rows.size()) << backend;
    ASSERT_EQ(chosen->rows.size(), of_all.size()) << backend;
    for (std::size_t i = 0; i < of_all.size(); ++i) {
      const auto& a = of_all[i];
      const auto& b = chosen->rows[i];
      ASSERT_EQ(slice(*all, a), slice(*chosen, b)) << i;
      ASSERT_EQ(std::tie(a.source, a.heads, a.batch, a.new_tokens, a.past_tokens, a.latency.value),
                std::tie(b.source, b.heads, b.batch, b.new_tokens, b.past_tokens, b.latency.value))
          << i;
    }
  }
}

TEST(DsaTableTest, CountsRepeatedKeys) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto folder = *root / "data/h100_sxm/sparse_attention/sglang/0.5.14";
  const auto table = read_dsa_file(folder / dsa_table_file(Phase::kGeneration), Phase::kGeneration);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(find_defects(*table).repeated_rows, 3568U);
  EXPECT_EQ(find_defects(*table).unusable_rows, 0U);
}

TEST(DsaTableTest, KeepsTheSourcesApart) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  const auto table = load_dsa_table(*tree, "h200_sxm", "trtllm", "1.3.0rc23", Phase::kGeneration);
  ASSERT_TRUE(table) << table.error().message();
  ASSERT_EQ(table->sources.size(), 3U);
  EXPECT_EQ(table->sources[0].version, "1.3.0rc23");
  EXPECT_EQ(table->sources[1].version, "1.3.0rc20");
  EXPECT_EQ(table->sources[1].channel, SourceChannel::kFallback);
  // vLLM may give rows of kernel "default" and has none on Hopper.
  EXPECT_EQ(table->sources[2].channel, SourceChannel::kCrossBackend);
  const auto own = std::count_if(table->rows.begin(), table->rows.end(),
                                 [](const DsaRow& row) { return row.source == 0; });
  EXPECT_EQ(own, 2944);
  EXPECT_EQ(table->rows.size(), 2944U + 5888U);
}

TEST(DsaTableTest, TheFirstSourceAnswersAndWithinItTheLastRow) {
  DsaTable table;
  table.slices.resize(2);
  const auto row = [](int source, double latency, int slice = 0) {
    return DsaRow{.slice = slice, .heads = 16, .source = source, .latency = {latency}};
  };
  table.rows = {row(0, 1), row(0, 2), row(1, 3), row(0, 4, 1), row(1, 0), row(1, 5, 1)};
  const auto answers = answering_rows(table);
  ASSERT_EQ(answers.table.rows.size(), 2U);
  EXPECT_EQ(answers.table.rows[0].latency.value, 2);
  EXPECT_EQ(answers.table.rows[1].latency.value, 4);
  EXPECT_EQ(answers.repeated, 3U);
  EXPECT_EQ(answers.unusable, 1U);
}

}  // namespace
}  // namespace dsaperf::perfdb
