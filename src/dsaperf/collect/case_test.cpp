#include "dsaperf/collect/case.hpp"

#include <gtest/gtest.h>

namespace dsaperf::collect {
namespace {

Case sample() {
  return {.phase = perfdb::Phase::kContext,
          .requests = {{2, 4096, 0}, {1, 1, 8192}},
          .heads = 16,
          .kv = model::KvFormat::kFp8,
          .gemm = model::WeightFormat::kFp8Block,
          .role = model::IndexerRole::kShared,
          .scores = ScoreDistribution::kPeaked,
          .launch = Launch::kEager};
}

TEST(CaseTest, IdNamesEverythingThatChangesTheTime) {
  EXPECT_EQ(sample().id(),
            "context/2x4096+0,1x1+8192/h16/kv_fp8/gemm_fp8_block/shared/peaked/eager");
}

TEST(CaseTest, IdReadsBack) {
  const auto read = Case::from_id(sample().id());
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->id(), sample().id());
}

TEST(CaseTest, TheIdOfAProductReadsBackAndNamesWhatIsWrong) {
  const Case what{.gemm = model::WeightFormat::kFp8Block,
                  .launch = Launch::kEager,
                  .product = GemmSizes{.m = 1, .n = 4096, .k = 7168}};
  EXPECT_EQ(what.id(), "gemm/m1/n4096/k7168/gemm_fp8_block/eager");
  EXPECT_FALSE(what.whole()) << "no row of a layer";
  const auto read = Case::from_id(what.id());
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->id(), what.id());
  for (const auto& [id, part] : {std::pair{"gemm/m1/n4096/k7168/gemm_fp8_block", "5 parts"},
                                 {"gemm/m0/n4096/k7168/gemm_fp8_block/graph", "'m0'"},
                                 {"gemm/m1/n/k7168/gemm_fp8_block/graph", "'n'"},
                                 {"gemm/m1/n4096/k-1/gemm_fp8_block/graph", "'k-1'"},
                                 {"gemm/m1/n4096/k7168/gemm_int3/graph", "'gemm_int3'"},
                                 {"gemm/m1/n4096/k7168/gemm_bf16/slow", "'slow'"}}) {
    const auto wrong = Case::from_id(id);
    ASSERT_FALSE(wrong) << id;
    EXPECT_NE(wrong.error().message().find(part), std::string::npos) << wrong.error().message();
  }
}

TEST(CaseTest, SumsOverItsRequests) {
  EXPECT_EQ(sample().batch(), 3);
  EXPECT_EQ(sample().new_tokens(), 8193);
  EXPECT_EQ(sample().context_tokens(), 2 * 4096 + 8193);
}

TEST(CaseTest, NamesThePartOfAnIdThatIsWrong) {
  for (const auto& [id, part] :
       {std::pair{"context/1x1+0/h16/kv_bf16/gemm_bf16/full/flat", "7 parts"},
        {"prefill/1x1+0/h16/kv_bf16/gemm_bf16/full/flat/graph", "'prefill'"},
        {"context/0x1+0/h16/kv_bf16/gemm_bf16/full/flat/graph", "'0x1+0'"},
        {"context/1x1-3/h16/kv_bf16/gemm_bf16/full/flat/graph", "'1x1-3'"},
        {"context/1x1+0/h0/kv_bf16/gemm_bf16/full/flat/graph", "'h0'"},
        {"context/1x1+0/h8/kv_int3/gemm_bf16/full/flat/graph", "'kv_int3'"}}) {
    const auto read = Case::from_id(id);
    ASSERT_FALSE(read) << id;
    EXPECT_NE(read.error().message().find(part), std::string::npos) << read.error().message();
  }
}

}  // namespace
}  // namespace dsaperf::collect
