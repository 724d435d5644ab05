#include "dsaperf/perfdb/own_table.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/perfdb/columns.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Row {
  const char* phase = "context";
  int heads = 16;
  int batch = 1;
  int new_tokens = 4096;
  double warm_us = 100;
  bool composed = false;
  const char* role = "full";
  const char* scores = "model_like";
  const char* launch = "graph";
};

// DATA with one card, whose tables are written piece by piece.
class Shipped {
 public:
  explicit Shipped(const std::string& name) : data_(fs::path(::testing::TempDir()) / name) {
    fs::remove_all(data_);
    fs::create_directories(data_ / "configs");
    fs::create_directories(data_ / "systems");
    std::ofstream(data_ / "systems/card.yaml")
        << "format: dsaperf.system.1\nname: card\nsm_version: 90\nmemory: {capacity_bytes: 100, "
           "bytes_per_s: 4.0e12}\npeak_flop_per_s: {bf16: 1.0e15, fp8: 2.0e15}\ninterconnect: "
           "{gpus_per_node: 8, intra_node_bytes_per_s: 4.5e11, latency_us: 10}\n";
  }
  fs::path folder() const { return data_ / "tables/card"; }
  fs::path piece(const std::string& name, const std::vector<Row>& rows,
                 const std::string& device = "card") const {
    std::vector<NewColumn> columns;
    for (const char* text :
         {"phase", "kv", "gemm", "indexer_role", "scores", "launch", "kernel_source"}) {
      columns.push_back({.name = text, .type = ColumnType::kText});
    }
    for (const char* size : {"batch", "new_tokens", "past_tokens", "heads", "composed"}) {
      columns.push_back({.name = size, .type = ColumnType::kInt});
    }
    for (const char* time : {"warm_median_us", "warm_p10_us", "warm_p90_us"}) {
      columns.push_back({.name = time, .type = ColumnType::kReal});
    }
    for (const auto& row : rows) {
      std::size_t column = 0;
      for (const char* text :
           {row.phase, "fp8", "bf16", row.role, row.scores, row.launch, "kernel"}) {
        columns[column++].texts.emplace_back(text);
      }
      for (const int size : {row.batch, row.new_tokens, 0, row.heads, row.composed ? 1 : 0}) {
        columns[column++].ints.push_back(size);
      }
      for (const double share : {1.0, 0.98, 1.03}) {
        columns[column++].reals.push_back(row.warm_us * share);
      }
    }
    fs::create_directories(folder());
    const auto path = folder() / (name + ".parquet");
    EXPECT_TRUE(write_columns(path, columns,
                              {{"format", "dsaperf.collect.table.1"},
                               {"model", "m"},
                               {"architecture", "DeepseekV32ForCausalLM"},
                               {"device", device}}));
    return path;
  }
  void use() const { set_data_dir(data_.native()); }

 private:
  fs::path data_;
};

TEST(OwnTableTest, RowsThatAModuleTableCanHoldAreReadAndSumsCarryAMark) {
  const Shipped shipped("own_rows");
  const auto path = shipped.piece("piece", {{.warm_us = 100},
                                            {.batch = 2, .warm_us = 200, .composed = true},
                                            {.batch = 4, .scores = "flat"},
                                            {.batch = 8, .launch = "eager"},
                                            {.batch = 3, .new_tokens = -1},
                                            {.phase = "generation", .new_tokens = 1},
                                            {.phase = "generation", .new_tokens = 3},
                                            {.batch = 16, .role = "shared"}});
  const auto own = read_own_table(path, Phase::kContext);
  ASSERT_TRUE(own) << own.error().message();
  EXPECT_EQ(own->about.architecture, "DeepseekV32ForCausalLM");
  const auto& table = own->table;
  ASSERT_EQ(table.rows.size(), 3U);
  const auto slice = [&](std::size_t row) {
    return table.slices[static_cast<std::size_t>(table.rows[row].slice)];
  };
  EXPECT_EQ(slice(0).kernel_source, "kernel");
  EXPECT_EQ(slice(0).kv_dtype, "fp8");
  EXPECT_EQ(slice(0).gemm_dtype, "bfloat16");
  EXPECT_EQ(slice(1).kernel_source, "kernel [composed]");
  EXPECT_TRUE(is_composed(slice(1).kernel_source));
  EXPECT_EQ(unmarked_kernel(slice(1).kernel_source), "kernel");
  EXPECT_TRUE(slice(2).shares_selection);
  EXPECT_EQ(slice(2).op_name, "dsa_context_module_skip_indexer");
  EXPECT_EQ(table.rows[1].latency.value, 200);
  EXPECT_EQ(table.rows[1].p10.value, 196);
  EXPECT_EQ(table.rows[1].p90.value, 206);
  EXPECT_EQ(read_own_table(path, Phase::kGeneration)->table.rows.size(), 1U);
}

TEST(OwnTableTest, AFileOfAnotherFormatIsRefused) {
  const auto path = fs::path(::testing::TempDir()) / "other.parquet";
  ASSERT_TRUE(write_columns(path, std::vector<NewColumn>{{.name = "x", .reals = {1}}},
                            {{"format", "x.2"}}));
  EXPECT_THAT(read_own_table(path, Phase::kContext).error().message(), HasSubstr("format 'x.2'"));
}

TEST(OwnTableTest, OfAPointInSeveralPiecesTheMeasurementCounts) {
  const Shipped shipped("own_folder");
  shipped.piece("a-stages", {{.warm_us = 110, .composed = true}, {.batch = 2, .warm_us = 190}});
  shipped.piece("b-whole", {{.warm_us = 100}, {.batch = 2, .warm_us = 200}, {.heads = 64}});
  const auto own = read_own_folder(shipped.folder(), Phase::kContext);
  ASSERT_TRUE(own) << own.error().message();
  std::vector<double> latencies;
  for (const auto& row : own->table.rows) latencies.push_back(row.latency.value);
  EXPECT_THAT(latencies, ElementsAre(100, 190, 100));
  EXPECT_EQ(own->table.sources.size(), 1U);

  shipped.piece("c", {{}}, "another card");
  EXPECT_THAT(read_own_folder(shipped.folder(), Phase::kContext).error().message(),
              HasSubstr("another card"));
  EXPECT_EQ(read_own_folder(shipped.folder() / "no", Phase::kContext).error().code(),
            Errc::kNotFound);
}

TEST(OwnTableTest, ShippedTablesAreATreeOfOneBackendAndVersion) {
  const Shipped shipped("own_tree");
  shipped.use();
  EXPECT_EQ(SystemsTree::shipped().error().code(), Errc::kNotFound);
  shipped.piece("piece", {{}});
  const auto tree = SystemsTree::shipped();
  ASSERT_TRUE(tree) << tree.error().message();
  EXPECT_TRUE(tree->is_shipped());
  EXPECT_THAT(tree->systems(), ElementsAre("card"));
  EXPECT_THAT(*tree->backends("card"), ElementsAre("dsaperf"));
  EXPECT_THAT(*tree->versions("card", "dsaperf"), ElementsAre("shipped"));
  EXPECT_EQ(*tree->resolve_version("card", "dsaperf", ""), "shipped");
  EXPECT_FALSE(tree->resolve_version("card", "dsaperf", "0.5.14"));
  EXPECT_FALSE(tree->resolve_version("card", "sglang", ""));

  const auto figures = tree->system("card");
  ASSERT_TRUE(figures) << figures.error().message();
  EXPECT_EQ(figures->mem_bw, 4e12);
  EXPECT_EQ(*figures->rate("bfloat16"), 1e15);
  EXPECT_EQ(figures->gpus_per_node, 8);
  EXPECT_DOUBLE_EQ(figures->p2p_latency_s, 1e-5);
  EXPECT_EQ(load_dsa_table(*tree, "card", "dsaperf", "shipped", Phase::kContext)->rows.size(), 1U);
  EXPECT_FALSE(load_dsa_table(*tree, "card", "sglang", "shipped", Phase::kContext));
  EXPECT_TRUE(tree->sources("card", "dsaperf", "shipped", "gemm_perf.parquet")->empty());
}

}  // namespace
}  // namespace dsaperf::perfdb
