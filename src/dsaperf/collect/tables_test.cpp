#include "dsaperf/collect/tables.hpp"

#include "dsaperf/collect/json.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/testing/folder.hpp"
#include "dsaperf/perfdb/own_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dsaperf::collect {
namespace {

Entry entry(std::string_view id, double warm_us) {
  Entry result;
  result.what = *Case::from_id(id);
  result.measurement.warm.median = {warm_us};
  result.measurement.stages = {{.stage = model::Stage::kTopk, .time = {7.5}, .kernel = "topk"}};
  result.measurement.kernel_source = "attention";
  result.attempts = 1;
  return result;
}

std::map<std::string, Entry> by_id(const std::vector<Entry>& entries) {
  std::map<std::string, Entry> result;
  for (const auto& each : entries) result.emplace(each.what.id(), each);
  return result;
}

constexpr const char* kContext =
    "context/2x4096+1024/h16/kv_fp8/gemm_fp8_block/full/model_like/graph";
constexpr const char* kShared = "context/2x4096+1024/h16/kv_fp8/gemm_bf16/shared/model_like/graph";
constexpr const char* kRagged =
    "context/1x4096+0,8x1+8192/h16/kv_bf16/gemm_bf16/full/model_like/graph";
constexpr const char* kDecode =
    "generation/8x1+4095/h16/kv_bf16/gemm_fp8_block/full/model_like/graph";
constexpr const char* kDraft =
    "generation/8x2+4095/h16/kv_bf16/gemm_fp8_block/full/model_like/graph";
constexpr const char* kEager =
    "generation/8x1+4095/h16/kv_bf16/gemm_fp8_block/full/model_like/eager";

TEST(TablesTest, ATableOfProductsReadsBackAndAnothersIsRefused) {
  auto product = entry("gemm/m8/n256/k7168/gemm_bf16/graph", 9);
  product.measurement.stages = {};
  product.measurement.card = {.sm_mhz = 1980, .throttle_reasons = {"a", "b"}};
  const auto table = gemm_table({.model = "m", .source = {.device = "d"}}, by_id({product}));
  const auto path = std::filesystem::path(::testing::TempDir()) / "own_gemm_perf.parquet";
  ASSERT_TRUE(perfdb::write_columns(path, table.columns, table.metadata));
  const auto read = read_gemm_table(path);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->header.source.device, "d");
  const auto& back = read->entries.at(product.what.id());
  EXPECT_EQ(back.measurement.warm.median, product.measurement.warm.median);
  EXPECT_EQ(back.measurement.card.throttle_reasons, product.measurement.card.throttle_reasons);
  ASSERT_TRUE(perfdb::write_columns(path, table.columns, {{"format", "x"}}));
  EXPECT_EQ(read_gemm_table(path).error().code(), Errc::kParse);
}

TEST(TablesTest, ProductsAreRowsOfAGemmTableAndOfNoOther) {
  const auto entries = by_id({entry("gemm/m8/n4096/k7168/gemm_fp8_block/graph", 12),
                              entry("gemm/m8/n4096/k7168/gemm_fp8_block/eager", 15),
                              entry("gemm/m8/n256/k7168/gemm_bf16/graph", 9), entry(kDecode, 20)});
  const JournalHeader header{.model = "m", .source = {.framework = "dsaperf", .version = "1"}};
  const auto table = gemm_table(header, entries);
  EXPECT_EQ(table.metadata.at("format"), "dsaperf.collect.gemm.1");
  const std::vector<std::string> wanted = {
      "framework",  "version", "device", "op_name", "kernel_source",
      "gemm_dtype", "m",       "n",      "k",       "latency"};
  ASSERT_GT(table.columns.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(table.columns[i].name, wanted[i]);
  // In the order of ids: n256 stands before n4096. The eager row has no line beside the replayed.
  EXPECT_EQ(table.columns[5].texts, (std::vector<std::string>{"bfloat16", "fp8_block"}));
  EXPECT_EQ(table.columns[7].ints, (std::vector<std::int64_t>{256, 4096}));
  ASSERT_EQ(table.columns[9].reals.size(), 2U);
  EXPECT_DOUBLE_EQ(table.columns[9].reals[1], 0.012);

  EXPECT_EQ(dsa_table(header, entries, perfdb::Phase::kGeneration).rows.size(), 1U);
  EXPECT_EQ(full_table(header, entries).columns.front().texts.size(), 1U);
  EXPECT_TRUE(gemm_table(header, by_id({entry(kDecode, 20)})).columns.empty());
}

TEST(TablesTest, AModuleTableHoldsWhatItsKeyCanSay) {
  const auto entries = by_id({entry(kContext, 100), entry(kShared, 90), entry(kRagged, 50),
                              entry(kDecode, 20), entry(kDraft, 21), entry(kEager, 22)});
  const JournalHeader header{.model = "m", .architecture = "DeepseekV32ForCausalLM"};
  const auto context = dsa_table(header, entries, perfdb::Phase::kContext);
  ASSERT_EQ(context.rows.size(), 2U);
  const auto& slice = context.slices[static_cast<std::size_t>(context.rows[1].slice)];
  EXPECT_EQ(slice.kv_dtype, "fp8");
  EXPECT_EQ(slice.gemm_dtype, "fp8_block");
  EXPECT_EQ(context.rows[1].past_tokens, 1024);
  const auto& shared = context.slices[static_cast<std::size_t>(context.rows[0].slice)];
  EXPECT_EQ(shared.op_name, "dsa_context_module_skip_indexer");
  EXPECT_EQ(shared.gemm_dtype, "bfloat16");

  const auto decode = dsa_table(header, entries, perfdb::Phase::kGeneration);
  ASSERT_EQ(decode.rows.size(), 1U);
  EXPECT_DOUBLE_EQ(decode.rows[0].latency.value, 20);
}

// The table on disk, read by perfdb, against the same rows from the journal.
TEST(TablesTest, TheFullTableReadBackIsTheModuleTable) {
  auto sum = entry("context/4x4096+0/h16/kv_fp8/gemm_fp8_block/full/model_like/graph", 300);
  sum.composed = true;
  const auto entries = by_id({entry(kContext, 100), entry(kShared, 90), entry(kRagged, 50),
                              entry(kDecode, 20), entry(kDraft, 21), entry(kEager, 22), sum});
  const JournalHeader header{.model = "m",
                             .architecture = "DeepseekV32ForCausalLM",
                             .source = {.framework = "dsaperf", .version = "1", .device = "card"}};
  const auto written = full_table(header, entries);
  const auto path = std::filesystem::path(::testing::TempDir()) / "full_table.parquet";
  ASSERT_TRUE(perfdb::write_columns(path, written.columns, written.metadata));
  const auto text_of = [](const perfdb::DsaTable& table) {
    std::vector<std::string> rows;
    for (const auto& row : table.rows) {
      const auto& s = table.slices[static_cast<std::size_t>(row.slice)];
      rows.push_back(fmt::format("{} {} {} {} {} {} '{}' {} h{} {}x{}+{} {}", s.model,
                                 s.architecture, s.mla_dtype, s.kv_dtype, s.gemm_dtype, s.op_name,
                                 s.kernel_source, s.shares_selection, row.heads, row.batch,
                                 row.new_tokens, row.past_tokens, row.latency.value));
    }
    return rows;
  };
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    const auto read = perfdb::read_own_table(path, phase);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(text_of(read->table), text_of(dsa_table(header, entries, phase)));
    EXPECT_EQ(read->about.device, "card");
  }
  EXPECT_THAT(text_of(perfdb::read_own_table(path, perfdb::Phase::kContext)->table),
              testing::Contains(testing::HasSubstr("'attention [composed]'")));
}

TEST(TablesTest, TheFullTableKeepsEveryCaseAndStage) {
  auto failed = entry(kDraft, 0);
  failed.error = "broken";
  const auto stage = entry(std::string(kContext) + "/only:topk", 7.5);
  const auto table =
      full_table({}, by_id({entry(kContext, 100), entry(kRagged, 50), failed, stage}));
  for (const auto& column : table.columns) EXPECT_EQ(column.rows(), 2U) << column.name;
  const auto column = [&](std::string_view name) {
    return *std::find_if(table.columns.begin(), table.columns.end(),
                         [&](const auto& each) { return each.name == name; });
  };
  EXPECT_THAT(column("topk_us").reals, testing::ElementsAre(7.5, 7.5));
  EXPECT_THAT(column("attention_us").reals, testing::ElementsAre(0, 0));
  EXPECT_THAT(column("requests").texts, testing::ElementsAre("1x4096+0,8x1+8192", "2x4096+1024"));
  EXPECT_THAT(column("past_tokens").ints, testing::ElementsAre(-1, 1024));
}

// Written and read again nothing of a row is lost, but which kernel each stage ran.
TEST(TablesTest, TheFullTableReadBackHoldsTheRowsOfTheJournal) {
  auto measured = entry(kDecode, 20);
  measured.measurement.warm = {
      .median = {20.5}, .p10 = {20}, .p90 = {21}, .count = 23, .ci95 = 0.0625};
  measured.measurement.cold = {
      .median = {30.5}, .p10 = {30}, .p90 = {31}, .count = 7, .ci95 = 0.125};
  measured.measurement.card = {.sm_mhz = 1980,
                               .memory_mhz = 3201,
                               .clocks_locked = true,
                               .power_w = 512.5,
                               .energy_j = 2.25,
                               .temperature_c = 58,
                               .throttle_reasons = {"software power cap", "hardware thermal"}};
  measured.disturbed = 1;
  measured.repeat_ratio = 1.25;
  auto sum = entry(kRagged, 50);
  sum.composed = true;
  sum.composed_warm = {50};
  sum.composed_cold = {55};
  auto entries = by_id({measured, sum, entry(kShared, 90)});
  for (auto& [id, each] : entries) each.measurement.stages.front().kernel.clear();
  const JournalHeader header{.model = "m",
                             .architecture = "DeepseekV32ForCausalLM",
                             .source = {.framework = "dsaperf",
                                        .version = "1",
                                        .device = "card",
                                        .driver = "580",
                                        .method = "graph-3"}};
  const auto path = std::filesystem::path(::testing::TempDir()) / "read_back.parquet";
  const auto written = full_table(header, entries);
  ASSERT_TRUE(perfdb::write_columns(path, written.columns, written.metadata));
  const auto read = read_full_table(path);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(source_to_json(read->header.source), source_to_json(header.source));
  ASSERT_EQ(read->entries.size(), 3U);
  for (const auto& [id, each] : entries) {
    EXPECT_EQ(entry_to_json(read->entries.at(id)), entry_to_json(each)) << id;
  }
}

TEST(TablesTest, ATableThatIsNotOursAndARowThatIsNoneAreNamed) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "odd.parquet";
  auto written = full_table({}, by_id({entry(kDecode, 20)}));
  for (auto& column : written.columns) {
    if (column.name == "launch") column.texts = {"sideways"};
  }
  ASSERT_TRUE(perfdb::write_columns(path, written.columns, written.metadata));
  EXPECT_THAT(read_full_table(path).error().message(), testing::HasSubstr("row 0: "));
  written.metadata["format"] = "dsaperf.collect.table.2";
  ASSERT_TRUE(perfdb::write_columns(path, written.columns, written.metadata));
  EXPECT_THAT(read_full_table(path).error().message(),
              testing::HasSubstr("dsaperf.collect.table.2"));
}

class MergeTest : public FolderTest {
 protected:
  void write(const Shard& shard, const std::vector<Entry>& entries, const char* device = "card") {
    auto journal = Journal::open(
        directory, {.model = "m", .source = {.device = device}, .shard = shard}, false);
    ASSERT_TRUE(journal) << journal.error().message();
    for (const auto& each : entries) ASSERT_TRUE(journal->append(each));
  }
};

TEST_F(MergeTest, ShardsMakeUpTheWhole) {
  write({0, 2}, {entry(kContext, 100)});
  write({1, 2}, {entry(kDecode, 20)});
  const auto merged = merge_journals({directory});
  ASSERT_TRUE(merged) << merged.error().message();
  EXPECT_EQ(merged->entries.size(), 2U);
  EXPECT_TRUE(merged->conflicts.empty());
  EXPECT_EQ(merged->header.shard.count, 1);
}

TEST_F(MergeTest, TwoMeasurementsOfOneCaseAreShownAndTheFirstIsKept) {
  write({0, 2}, {entry(kContext, 100)});
  write({1, 2}, {entry(kContext, 120)});
  const auto merged = merge_journals({directory});
  ASSERT_TRUE(merged);
  ASSERT_EQ(merged->conflicts.size(), 1U);
  EXPECT_THAT(merged->conflicts[0], testing::HasSubstr("100.00 us and 120.00 us"));
  EXPECT_EQ(merged->entries.begin()->second.measurement.warm.median.value, 100);
}

TEST_F(MergeTest, AMeasurementBeatsAnError) {
  auto failed = entry(kContext, 0);
  failed.error = "broken";
  write({0, 2}, {failed});
  write({1, 2}, {entry(kContext, 120)});
  const auto merged = merge_journals({directory});
  EXPECT_TRUE(merged->entries.begin()->second.error.empty());
  EXPECT_TRUE(merged->conflicts.empty());
}

TEST_F(MergeTest, AMeasurementBeatsASumOfStages) {
  auto sum = entry(kDecode, 19);
  sum.composed = true;
  auto other_sum = sum;
  other_sum.what = *Case::from_id(kContext);
  write({0, 3}, {sum, entry(kContext, 100)});
  write({1, 3}, {entry(kDecode, 20), other_sum});
  write({2, 3}, {sum});
  const auto merged = merge_journals({directory});
  ASSERT_TRUE(merged) << merged.error().message();
  EXPECT_TRUE(merged->conflicts.empty());
  for (const auto& [id, each] : merged->entries) EXPECT_FALSE(each.composed) << id;
}

TEST_F(MergeTest, CardsAreNotMixed) {
  write({0, 2}, {entry(kContext, 100)});
  write({1, 2}, {entry(kDecode, 20)}, "another");
  const auto merged = merge_journals({directory});
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message(), testing::HasSubstr("another"));
}

TEST_F(MergeTest, AFolderWithoutJournalIsNamed) {
  std::filesystem::create_directories(directory);
  const auto merged = merge_journals({directory});
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message(), testing::HasSubstr("rows*.jsonl"));
}

}  // namespace
}  // namespace dsaperf::collect
