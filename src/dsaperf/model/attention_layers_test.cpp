// One test a rule of the fields that sparse attention is written in. Each starts from a small
// config of its family and states the fields that matter.

#include "dsaperf/model/attention_layers.hpp"

#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace dsaperf::model {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json latent_config(int layers) {
  return {{"num_hidden_layers", layers}, {"hidden_size", 1024},    {"num_attention_heads", 16},
          {"vocab_size", 1000},          {"q_lora_rank", 256},     {"kv_lora_rank", 512},
          {"qk_nope_head_dim", 128},     {"qk_rope_head_dim", 64}, {"v_head_dim", 128},
          {"intermediate_size", 2048}};
}

json dsa_config(int layers) {
  auto config = latent_config(layers);
  config.update({{"index_n_heads", 8}, {"index_head_dim", 128}, {"index_topk", 2048}});
  return config;
}

json grouped_config(int layers) {
  return {{"num_hidden_layers", layers}, {"hidden_size", 1024}, {"num_attention_heads", 16},
          {"num_key_value_heads", 4},    {"head_dim", 64},      {"vocab_size", 1000},
          {"intermediate_size", 2048}};
}

json compressed_config(int layers) {
  auto config = grouped_config(layers);
  config.update({{"num_key_value_heads", 1},
                 {"head_dim", 512},
                 {"q_lora_rank", 256},
                 {"o_lora_rank", 64},
                 {"o_groups", 4},
                 {"sliding_window", 128},
                 {"index_n_heads", 8},
                 {"index_head_dim", 128},
                 {"index_topk", 512}});
  return config;
}

ModelSpec read(const json& config) {
  auto spec = parse_model(config.dump(), "", "test");
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  return spec ? *std::move(spec) : ModelSpec{};
}

std::string error_of(const json& config) {
  const auto spec = parse_model(config.dump(), "", "test");
  return spec ? "no error" : spec.error().message();
}

// One letter a main layer: F and S indexer full and shared, - none.
std::string roles(const ModelSpec& spec) {
  std::string letters;
  for (const auto* layer : main_attention_layers(spec)) {
    letters += layer->indexer_role == IndexerRole::kFull     ? 'F'
               : layer->indexer_role == IndexerRole::kShared ? 'S'
                                                             : '-';
  }
  return letters;
}

std::vector<int> layers_of(const ModelSpec& spec, AttentionKind kind) {
  std::vector<int> found;
  for (const auto* layer : main_attention_layers(spec)) {
    if (layer->attention == kind) found.push_back(layer->index);
  }
  return found;
}

std::string warnings_of(const ModelSpec& spec) {
  std::string all;
  for (const auto& warning : spec.warnings) all += warning + '\n';
  return all;
}

std::vector<std::string> repeat(const std::vector<std::string>& pattern, int layers) {
  std::vector<std::string> types;
  for (int i = 0; i < layers; ++i) types.push_back(pattern[i % pattern.size()]);
  return types;
}

TEST(DsaFieldsTest, EveryLayerIsSparseWhateverItsMlp) {
  auto config = dsa_config(4);
  config.update({{"first_k_dense_replace", 2},
                 {"n_routed_experts", 8},
                 {"num_experts_per_tok", 2},
                 {"moe_intermediate_size", 256}});
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "FFFF");
  EXPECT_EQ(spec.layers[1].mlp, MlpKind::kDense);
  EXPECT_EQ(spec.layers[2].mlp, MlpKind::kMoe);
}

TEST(DsaFieldsTest, AMissingFieldIsNamedAndNeverAssumed) {
  for (const std::string name : {"index_topk", "index_n_heads", "index_head_dim"}) {
    auto config = dsa_config(2);
    config.erase(name);
    EXPECT_THAT(error_of(config), HasSubstr(name + ": is missing"));
    config[name] = nullptr;
    EXPECT_THAT(error_of(config), HasSubstr(name + ": is null"));
  }
}

TEST(DsaFieldsTest, ASparseModelTypeWithoutItsFieldsIsAnError) {
  auto config = latent_config(2);
  config["model_type"] = "deepseek_v32";
  EXPECT_THAT(error_of(config), HasSubstr("index_topk"));
}

TEST(DsaFieldsTest, LayerTypesSayWhichLayersSelect) {
  for (const std::string name : {"indexed_attention", "deepseek_sparse_attention"}) {
    auto config = dsa_config(4);
    config["layer_types"] = {"linear_attention", "sliding_attention", "full_attention", name};
    config["sliding_window"] = 128;
    const auto spec = read(config);
    EXPECT_EQ(roles(spec), "---F") << name;
    EXPECT_THAT(layers_of(spec, AttentionKind::kLinear), ElementsAre(0));
    EXPECT_THAT(layers_of(spec, AttentionKind::kSlidingWindow), ElementsAre(1));
    EXPECT_EQ(spec.layers[1].geometry.window, 128);
    EXPECT_THAT(layers_of(spec, AttentionKind::kMla), ElementsAre(2));
  }
}

TEST(DsaFieldsTest, LayerTypesWithoutASparseEntryAreAWarning) {
  auto config = dsa_config(3);
  config["layer_types"] = repeat({"full_attention"}, 3);
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "---");
  EXPECT_THAT(warnings_of(spec), HasSubstr("full_attention is read as dense"));
  config["use_dsa"] = true;
  EXPECT_EQ(roles(read(config)), "FFF");
}

TEST(DsaFieldsTest, QueriesOfTheIndexerMayComeFromHidden) {
  auto config = dsa_config(2);
  config["q_lora_rank"] = nullptr;
  EXPECT_EQ(read(config).layers[0].geometry.q_lora, 0);
}

TEST(DsaFieldsTest, FieldsMayStandInTextConfigOrBesideIt) {
  const auto inner = dsa_config(2);
  const json config = {{"model_type", "some_vl"},
                       {"num_nextn_predict_layers", 1},
                       {"vision_config", {{"index_thing", 1}, {"num_hidden_layers", 99}}},
                       {"text_config", inner}};
  const auto spec = read(config);
  EXPECT_TRUE(spec.nested_text_config);
  EXPECT_EQ(roles(spec), "FF");
  EXPECT_EQ(spec.mtp_layers, 1);
  EXPECT_EQ(spec.model_type, "some_vl");
  EXPECT_THAT(warnings_of(spec), ::testing::Not(HasSubstr("index_thing")));
}

TEST(SharedSelectionTest, FollowsIndexerTypes) {
  auto config = dsa_config(4);
  config["indexer_types"] = {"full", "shared", "shared", "full"};
  EXPECT_EQ(roles(read(config)), "FSSF");
}

TEST(SharedSelectionTest, FollowsThePattern) {
  auto config = dsa_config(4);
  config["index_topk_pattern"] = "FSFS";
  EXPECT_EQ(roles(read(config)), "FSFS");
}

TEST(SharedSelectionTest, FollowsFrequencyAndOffset) {
  auto config = dsa_config(12);
  config.update({{"index_topk_freq", 4}, {"index_skip_topk_offset", 3}});
  // full where max(i - 2, 0) mod 4 == 0
  EXPECT_EQ(roles(read(config)), "FFFSSSFSSSFS");
}

TEST(SharedSelectionTest, TheExplicitListWinsAndTheContradictionIsAWarning) {
  auto config = dsa_config(4);
  config["indexer_types"] = {"full", "full", "shared", "shared"};
  config["index_topk_pattern"] = "FSSS";
  config["index_topk_freq"] = 2;
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "FFSS");
  EXPECT_THAT(warnings_of(spec), HasSubstr("indexer_types and index_topk_pattern disagree"));
  EXPECT_THAT(warnings_of(spec), HasSubstr("indexer_types and index_topk_freq disagree"));
}

TEST(SharedSelectionTest, AShortListIsCompletedByTheRuleAndSaysSo) {
  auto config = dsa_config(6);
  config["indexer_types"] = {"full", "full", "full"};
  config.update({{"index_topk_freq", 4}, {"index_skip_topk_offset", 3}});
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "FFFSSS");
  EXPECT_THAT(warnings_of(spec), HasSubstr("3 entries for 6 layers"));
}

TEST(SharedSelectionTest, AListOfTheWrongLengthWithoutARuleIsAnError) {
  auto config = dsa_config(6);
  config["indexer_types"] = repeat({"full"}, 5);
  EXPECT_THAT(error_of(config), HasSubstr("indexer_types: 5 entries for 6 layers"));
  config["indexer_types"] = repeat({"full"}, 7);
  EXPECT_THAT(error_of(config), HasSubstr("7 entries for 6 layers"));
}

TEST(SharedSelectionTest, ASelectionMustExistBeforeItIsShared) {
  auto config = dsa_config(3);
  config["indexer_types"] = {"shared", "full", "full"};
  EXPECT_THAT(error_of(config), HasSubstr("layer 0 shares a selection"));
}

TEST(SharedSelectionTest, UnknownEntriesAreNamed) {
  auto config = dsa_config(2);
  config["indexer_types"] = {"full", "half"};
  EXPECT_THAT(error_of(config), HasSubstr("indexer_types[1]"));
  config.erase("indexer_types");
  config["index_topk_pattern"] = "FX";
  EXPECT_THAT(error_of(config), HasSubstr("index_topk_pattern"));
}

TEST(SharedSelectionTest, TheDraftLayerHasAnIndexerOfItsOwn) {
  auto config = dsa_config(2);
  config["num_nextn_predict_layers"] = 1;
  config["indexer_types"] = {"full", "shared"};
  const auto spec = read(config);
  EXPECT_EQ(spec.layers[2].indexer_role, IndexerRole::kFull);
  EXPECT_TRUE(spec.layers[2].is_mtp);
}

TEST(PooledKeysTest, AreReadWithTheirHybridLayers) {
  auto config = dsa_config(8);
  config["qk_rope_head_dim"] = 0;
  config["index_kpool"] = 4;
  config["layer_types"] = repeat(
      {"linear_attention", "linear_attention", "linear_attention", "deepseek_sparse_attention"}, 8);
  config["linear_attn_config"] = {{"num_heads", 16}, {"head_dim", 64}};
  const auto spec = read(config);
  EXPECT_THAT(layers_of(spec, AttentionKind::kPooledDsa), ElementsAre(3, 7));
  EXPECT_EQ(typical_layer(spec).indexer->pool, 4);
  EXPECT_EQ(typical_layer(spec).geometry.rope, 0);
  EXPECT_EQ(spec.layers[0].linear->key_heads, 16);
}

TEST(PerLayerFieldsTest, ChangeTheGeometryOfSingleLayers) {
  auto config = dsa_config(3);
  config["layer_types"] = {"indexed_attention", "sliding_attention", "indexed_attention"};
  config["sliding_window"] = 512;
  config["per_layer_config"] = {{"1", {{"num_attention_heads", 8}, {"kv_lora_rank", 1024}}}};
  const auto spec = read(config);
  EXPECT_EQ(spec.layers[0].geometry.kv_lora, 512);
  EXPECT_EQ(spec.layers[1].geometry.kv_lora, 1024);
  EXPECT_EQ(spec.layers[1].geometry.heads, 8);
  config["per_layer_config"] = {{"3", {{"num_attention_heads", 8}}}};
  EXPECT_THAT(error_of(config), HasSubstr("per_layer_config.3"));
}

TEST(SharedCacheTest, NamesTheLayerWhoseCacheIsRead) {
  auto config = dsa_config(4);
  config["kv_source_layers"] = {0, 0, 2, 2};
  config["no_rope_layers"] = {1, 1, 0, 1};
  const auto spec = read(config);
  EXPECT_EQ(spec.layers[0].kv_source, -1);
  EXPECT_EQ(spec.layers[1].kv_source, 0);
  EXPECT_EQ(spec.layers[3].kv_source, 2);
  EXPECT_FALSE(spec.layers[2].uses_rope);
  config["kv_source_layers"] = {0, 3, 2, 2};
  EXPECT_THAT(error_of(config), HasSubstr("kv_source_layers[1]"));
}

TEST(CompressedTest, RatiosSayWindowCsaAndHca) {
  auto config = compressed_config(5);
  config["num_nextn_predict_layers"] = 1;
  config["compress_ratios"] = {0, 4, 128, 4, 128, 0};
  const auto spec = read(config);
  EXPECT_THAT(layers_of(spec, AttentionKind::kSlidingWindow), ElementsAre(0));
  EXPECT_THAT(layers_of(spec, AttentionKind::kCompressedSparse), ElementsAre(1, 3));
  EXPECT_THAT(layers_of(spec, AttentionKind::kHeavilyCompressed), ElementsAre(2, 4));
  EXPECT_EQ(roles(spec), "-F-F-");
  EXPECT_EQ(spec.layers[5].attention, AttentionKind::kSlidingWindow);
  EXPECT_EQ(spec.layers[1].compress_ratio, 4);
}

TEST(CompressedTest, LayerTypesWithRatesSayTheSame) {
  auto config = compressed_config(3);
  config["layer_types"] = {"sliding_attention", "compressed_sparse_attention",
                           "heavily_compressed_attention"};
  config["compress_rates"] = {{"compressed_sparse_attention", 8},
                              {"heavily_compressed_attention", 64}};
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "-F-");
  EXPECT_EQ(spec.layers[1].compress_ratio, 8);
  EXPECT_EQ(spec.layers[2].compress_ratio, 64);
}

TEST(CompressedTest, AListOfTheWrongLengthSaysBoth) {
  auto config = compressed_config(5);
  config["compress_ratios"] = {0, 4, 128};
  EXPECT_THAT(error_of(config), HasSubstr("compress_ratios: 3 entries for 5 layers"));
}

TEST(CompressedTest, SourcesRunTheIndexerAndTheRestReuses) {  // DeepSeek-V4.1
  json text = compressed_config(8);
  text.update({{"num_nextn_predict_layers", 3},
               {"compress_ratios", {0, 0, 2, 2, 2, 1, 1, 1, 0, 0, 0}},
               {"index_source_layer_ids", {2, 4, 6}},
               {"kv_source_layer_ids", {2, 5}},
               {"candidate_topk_blocks", 32},
               {"candidate_block_size", 64},
               {"candidate_source_layer_id", 4}});
  const auto spec = read({{"model_type", "deepseek_v41"}, {"text_config", text}});
  EXPECT_EQ(roles(spec), "--FSFSFS");
  EXPECT_THAT(layers_of(spec, AttentionKind::kSlidingWindow), ElementsAre(0, 1));
  EXPECT_EQ(spec.layers[4].kv_source, 2);
  EXPECT_EQ(spec.layers[5].kv_source, -1);
  EXPECT_EQ(spec.layers[7].kv_source, 5);
  EXPECT_THAT(spec.warnings, ::testing::IsEmpty());
}

TEST(CompressedTest, ASourceOutsideTheModelIsAnError) {
  auto config = compressed_config(3);
  config["compress_ratios"] = {0, 2, 2};
  config["index_source_layer_ids"] = {5};
  EXPECT_THAT(error_of(config), HasSubstr("index_source_layer_ids: layer 5 of 3 layers"));
  config["index_source_layer_ids"] = {2};
  EXPECT_THAT(error_of(config), HasSubstr("no layer up to it runs an indexer"));
}

TEST(BlockSparseTest, FrequencySaysWhichLayersSelect) {
  auto config = grouped_config(4);
  config["sparse_attention_config"] = {
      {"use_sparse_attention", true}, {"sparse_num_index_heads", 4},
      {"sparse_index_dim", 128},      {"sparse_topk_blocks", 16},
      {"sparse_block_size", 128},     {"sparse_init_block", 0},
      {"sparse_local_block", 1},      {"sparse_attention_freq", {0, 1, 1, 0}}};
  auto spec = read(config);
  EXPECT_THAT(layers_of(spec, AttentionKind::kBlockSparse), ElementsAre(1, 2));
  EXPECT_EQ(typical_layer(spec).indexer->block, 128);
  config["sparse_attention_config"]["use_sparse_attention"] = false;
  EXPECT_FALSE(is_sparse(read(config)));
  config["sparse_attention_config"]["use_sparse_attention"] = true;
  config["sparse_attention_config"]["sparse_attention_freq"] = {0, 1};
  EXPECT_THAT(error_of(config), HasSubstr("sparse_attention_freq: 2 entries for 4 layers"));
}

TEST(BlockSparseTest, InTransformersLayerTypesDecide) {
  auto config = grouped_config(3);
  config.update({{"index_n_heads", 4},
                 {"index_head_dim", 128},
                 {"index_topk_blocks", 16},
                 {"index_block_size", 128},
                 {"index_local_blocks", 1}});
  config["layer_types"] = repeat({"full_attention"}, 3);
  EXPECT_FALSE(is_sparse(read(config)));
  config["layer_types"] = {"full_attention", "minimax_m3_sparse", "minimax_m3_sparse"};
  EXPECT_THAT(layers_of(read(config), AttentionKind::kBlockSparse), ElementsAre(1, 2));
}

TEST(LightningTest, EachLayerHoldsTwoBlocksThatShareAnIndexer) {
  auto config = dsa_config(3);
  config.erase("num_hidden_layers");
  config.update({{"num_layers", 3},
                 {"attention_method", "LSA"},
                 {"ffn_hidden_size", 2048},
                 {"expert_ffn_hidden_size", 512},
                 {"n_routed_experts", 8},
                 {"moe_topk", 2},
                 {"cli_factor", 2},
                 {"index_init_tokens", 16},
                 {"index_local_tokens", 1024}});
  const auto spec = read(config);
  EXPECT_EQ(spec.main_layers, 3);
  EXPECT_EQ(roles(spec), "FSFSFS");
  EXPECT_EQ(spec.layers[0].mlp, MlpKind::kDenseAndMoe);
  EXPECT_EQ(spec.layers[1].mlp, MlpKind::kDense);
  EXPECT_EQ(typical_layer(spec).indexer->local_always, 1024);
}

TEST(BudgetTest, SelectsWhereLayersAreFull) {
  auto config = grouped_config(4);
  config.update({{"indexer_n_heads", 4},
                 {"indexer_kv_heads", 1},
                 {"indexer_head_dim", 128},
                 {"indexer_budget", 2048},
                 {"indexer_compress_ratio", 4}});
  for (const std::string name : {"full_attention", "indexed_attention", "hybrid_indexed"}) {
    config["layer_types"] = {"linear_attention", "linear_attention", "linear_attention", name};
    const auto spec = read(config);
    EXPECT_THAT(layers_of(spec, AttentionKind::kBudgetSparse), ElementsAre(3)) << name;
    EXPECT_EQ(typical_layer(spec).indexer->topk, 512);
  }
}

TEST(BudgetTest, NullFieldsLeaveTheSizeOpenAndTheRestIsReported) {
  auto config = grouped_config(2);
  config.update({{"indexer_n_heads", nullptr}, {"indexer_budget", nullptr}});
  config["layer_types"] = {"linear_attention", "indexed_attention"};
  const auto spec = read(config);
  EXPECT_THAT(layers_of(spec, AttentionKind::kBudgetSparse), ElementsAre(1));
  EXPECT_THAT(warnings_of(spec), HasSubstr("the indexer's size is not known"));
  // Without an entry that names a selection, nothing selects.
  config["layer_types"] = {"linear_attention", "full_attention"};
  EXPECT_FALSE(is_sparse(read(config)));
}

TEST(PlainTest, LatentRanksAreNotSparsity) {
  const auto spec = read(latent_config(2));
  EXPECT_FALSE(is_sparse(spec));
  EXPECT_THAT(layers_of(spec, AttentionKind::kMla), ElementsAre(0, 1));
}

TEST(PlainTest, LinearLayersAreCountedFromOneOrZero) {
  auto config = latent_config(4);
  config["linear_attn_config"] = {{"full_attn_layers", {4}}, {"kda_layers", {1, 2, 3}}};
  EXPECT_THAT(layers_of(read(config), AttentionKind::kMla), ElementsAre(3));
  config["linear_attn_config"] = {{"full_attn_layers", {3}}, {"kda_layers", {0, 1, 2}}};
  EXPECT_THAT(layers_of(read(config), AttentionKind::kMla), ElementsAre(3));
  auto interval = grouped_config(8);
  interval["full_attention_interval"] = 4;
  EXPECT_THAT(layers_of(read(interval), AttentionKind::kGqa), ElementsAre(3, 7));
}

TEST(PlainTest, WindowsAreReadFromEachOfTheirSpellings) {
  auto config = grouped_config(4);
  config["sliding_window"] = 128;
  EXPECT_EQ(layers_of(read(config), AttentionKind::kSlidingWindow).size(), 4U);
  config["use_sliding_window"] = false;
  EXPECT_TRUE(layers_of(read(config), AttentionKind::kSlidingWindow).empty());
  config["hybrid_layer_pattern"] = {0, 1, 1, 0};
  config["swa_num_key_value_heads"] = 8;
  const auto spec = read(config);
  EXPECT_THAT(layers_of(spec, AttentionKind::kSlidingWindow), ElementsAre(1, 2));
  EXPECT_EQ(spec.layers[1].geometry.kv_heads, 8);
  EXPECT_EQ(spec.layers[0].geometry.kv_heads, 4);
}

TEST(PlainTest, ListsMayGoOnWithTheDraftLayers) {  // Step
  auto config = grouped_config(3);
  config["sliding_window"] = 512;
  config["num_nextn_predict_layers"] = 2;
  config["layer_types"] = {"full_attention", "sliding_attention", "full_attention",
                           "full_attention", "full_attention"};
  const auto spec = read(config);
  EXPECT_EQ(spec.layers.size(), 5U);
  EXPECT_EQ(spec.layers[4].attention, AttentionKind::kGqa);
  config["layer_types"].push_back("full_attention");
  EXPECT_THAT(error_of(config), HasSubstr("6 entries for 3 layers and 2 MTP layers"));
}

TEST(PlainTest, MoeLayersMayBeListedInAText) {  // Step
  auto config = grouped_config(5);
  config.update({{"moe_num_experts", 8},
                 {"moe_top_k", 2},
                 {"moe_intermediate_size", 256},
                 {"num_attention_groups", 2},
                 {"moe_layers_enum", "1, 3,9"},
                 {"rope_theta", {1.0, 2.0}}});
  config.erase("num_key_value_heads");
  const auto spec = read(config);
  std::string kinds;
  for (const auto& layer : spec.layers) kinds += layer.mlp == MlpKind::kMoe ? 'M' : 'd';
  EXPECT_EQ(kinds, "dMdMd");
  EXPECT_EQ(spec.layers[0].geometry.kv_heads, 2);
}

TEST(DsaFieldsTest, AWindowWithoutLayerTypesDoesNotUnmakeSparsity) {
  auto config = dsa_config(3);
  config["sliding_window_size"] = 512;
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "FFF");
  EXPECT_THAT(warnings_of(spec), HasSubstr("sliding_window_size is set"));
}

TEST(DsaFieldsTest, StandsOnGroupedHeadsToo) {  // a family that nobody has named yet
  auto config = grouped_config(2);
  config.update({{"index_n_heads", 8}, {"index_head_dim", 64}, {"index_topk", 1024}});
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "FF");
  EXPECT_EQ(spec.layers[0].geometry.kv_lora, 0);
}

TEST(PlainTest, UnknownLayerTypesAreReadByTheirNameWithAWarning) {
  auto config = dsa_config(2);
  config["layer_types"] = {"ultra_sparse_attention", "recurrent_gated"};
  const auto spec = read(config);
  EXPECT_EQ(roles(spec), "F-");
  EXPECT_THAT(layers_of(spec, AttentionKind::kLinear), ElementsAre(1));
  EXPECT_THAT(warnings_of(spec), HasSubstr("layer_types[0]: unknown layer type"));
}

}  // namespace
}  // namespace dsaperf::model
