#include "dsaperf/perfdb/systems_tree.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;
using dsaperf::testing::kNoSystems;
using dsaperf::testing::systems_tree;

// A tree of empty files: which files serve a table does not depend on what they hold.
class OwnTree {
 public:
  explicit OwnTree(const std::string& name) : root_(fs::path(::testing::TempDir()) / name) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    write("card.yaml",
          "data_dir: data/card\ngpu: {mem_bw: 1.0e12, bfloat16_tc_flops: 1.0e14}\nmisc: "
          "{nccl_version: '2.1'}\n");
  }
  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  void table(const std::string& folder) const {
    write("data/card/" + folder + "/t_perf.parquet", "");
  }
  SystemsTree tree() const { return *SystemsTree::open(root_); }

 private:
  fs::path root_;
};

std::vector<std::string> versions_of(const std::vector<TableSource>& sources) {
  std::vector<std::string> found;
  for (const auto& source : sources) found.push_back(source.backend + " " + source.version);
  return found;
}

TEST(SystemsTreeTest, FillsFromOlderVersionsNearestFirst) {
  const OwnTree own("older");
  for (const char* version : {"0.5.9", "0.5.14", "0.5.10", "0.5.16", "not-a-version"}) {
    own.table("family/sglang/" + std::string(version));
  }
  const auto sources = own.tree().sources("card", "sglang", "0.5.14", "t_perf.parquet");
  ASSERT_TRUE(sources) << sources.error().message();
  EXPECT_THAT(versions_of(*sources),
              ::testing::ElementsAre("sglang 0.5.14", "sglang 0.5.10", "sglang 0.5.9"));
  // A name that is no version is never filled.
  EXPECT_EQ(own.tree().sources("card", "sglang", "not-a-version", "t_perf.parquet")->size(), 1U);
}

TEST(SystemsTreeTest, DeclaredDonorsMayBeNewerAndComeFirst) {
  const OwnTree own("donor");
  own.table("family/sglang/0.5.9");
  own.table("family/sglang/0.5.14");
  own.write("data/card/family/sglang/0.5.12/reuse.yaml",
            "schema_version: 1\nreuse:\n- {table: t_perf, from_version: 0.5.14, reason: r, "
            "approved_by: a}\n");
  const auto sources = own.tree().sources("card", "sglang", "0.5.12", "t_perf.parquet");
  EXPECT_THAT(versions_of(*sources), ::testing::ElementsAre("sglang 0.5.14", "sglang 0.5.9"));
  EXPECT_EQ(sources->front().channel, SourceChannel::kDeclaredReuse);
}

TEST(SystemsTreeTest, TakesOtherBackendsByTheManifestWithTheirKernelsOnly) {
  const OwnTree own("manifest");
  own.table("family/trtllm/1.0");
  own.table("family/vllm/0.9");
  own.write(
      "perf_data_reuse_manifest.yaml",
      "groups:\n"
      "  - op_file: t_perf.parquet\n    kernel_source: 'default'\n    tier: shared_fallback\n"
      "    frameworks: [trtllm, vllm]\n"
      "  - op_file: t_perf.parquet\n    kernel_source: 'absent'\n    tier: absence_load_bearing\n"
      "    frameworks: [trtllm, vllm]\n"
      "  - op_file: other_perf.parquet\n    kernel_source: 'k'\n    tier: shared\n"
      "    frameworks: [trtllm, vllm]\n"
      "  - op_file: t_perf.parquet\n    kernel_source: 'of one'\n    tier: shared\n"
      "    frameworks: [trtllm]\n"
      "  - op_file: t_perf.parquet\n    kernel_source: 'trtllm_gen'\n    tier: shared\n"
      "    frameworks: [sglang, vllm]\n"
      "  - op_file: 't_perf.parquet'\n    kernel_source: 'block'\n    tier: shared\n"
      "    frameworks:\n    - vllm\n    - trtllm\n");
  const auto sources = own.tree().sources("card", "trtllm", "1.0", "t_perf.parquet");
  ASSERT_TRUE(sources) << sources.error().message();
  ASSERT_THAT(versions_of(*sources), ::testing::ElementsAre("trtllm 1.0", "vllm 0.9"));
  EXPECT_THAT((*sources)[1].kernel_sources, ::testing::ElementsAre("default", "block"));
}

TEST(SystemsTreeTest, AnIncompleteFolderWithoutProvenanceIsHidden) {
  const OwnTree own("veto");
  own.table("family/sglang/0.5.14");
  own.write("data/card/family/sglang/0.5.14/INCOMPLETE.txt", "");
  EXPECT_TRUE(own.tree().sources("card", "sglang", "0.5.14", "t_perf.parquet")->empty());
  own.write("data/card/family/sglang/0.5.14/collection_meta.yaml", "schema_version: 1\n");
  EXPECT_EQ(own.tree().sources("card", "sglang", "0.5.14", "t_perf.parquet")->size(), 1U);
}

TEST(SystemsTreeTest, WithoutSlotsAnyVersionIsAskedForByNameAndTheHighestIsTheDefault) {
  const OwnTree own("no_slots");
  own.table("family/sglang/0.5.9");
  own.table("family/sglang/0.5.14");
  EXPECT_EQ(*own.tree().resolve_version("card", "sglang", ""), "0.5.14");
  EXPECT_EQ(*own.tree().resolve_version("card", "sglang", "9.9.9"), "9.9.9");
  EXPECT_FALSE(own.tree().resolve_version("card", "sglang", "next"));
}

TEST(SystemsTreeTest, SlotsDecideWhichVersionsAreOffered) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto tree = SystemsTree::open(*root);
  EXPECT_EQ(*tree->resolve_version("h200_sxm", "sglang", ""), "0.5.14");
  EXPECT_EQ(*tree->resolve_version("h200_sxm", "sglang", "next"), "0.5.16");
  EXPECT_EQ(*tree->resolve_version("h200_sxm", "trtllm", "next"), "1.3.0rc23");
  EXPECT_EQ(*tree->resolve_version("h200_sxm", "vllm", "current"), "0.24.0");
  EXPECT_EQ(*tree->resolve_version("b60", "vllm", "previous"), "0.20.0");
  const auto refused = tree->resolve_version("h200_sxm", "sglang", "0.5.10");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), ::testing::HasSubstr("current 0.5.14"));
}

TEST(SystemsTreeTest, NamesTheSystemsWhereOneIsUnknown) {
  const OwnTree own("unknown");
  const auto none = own.tree().system("h900");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), ::testing::HasSubstr("(have: card)"));
}

TEST(SystemFileTest, AssumesNoRate) {
  const OwnTree own("rates");
  const auto card = own.tree().system("card");
  ASSERT_TRUE(card) << card.error().message();
  EXPECT_EQ(*card->rate("bfloat16"), 1e14);
  EXPECT_FALSE(card->rate("fp8"));
}

}  // namespace
}  // namespace dsaperf::perfdb
