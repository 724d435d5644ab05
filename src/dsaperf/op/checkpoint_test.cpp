#include "dsaperf/op/checkpoint.hpp"

#include "dsaperf/core/file.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/safetensors.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace dsaperf::op {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::small_spec;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory = std::filesystem::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(directory);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  std::filesystem::path directory;
};

template <typename T>
NamedTensor tensor(std::string name, DType type, std::vector<std::int64_t> shape,
                   const std::vector<T>& values) {
  NamedTensor result{.name = std::move(name), .type = type, .shape = std::move(shape)};
  result.bytes.resize(values.size() * sizeof(T));
  std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
  return result;
}

// All tensors of a layer as a checkpoint names them.
std::vector<NamedTensor> tensors(const LayerWeights& w, const std::string& prefix) {
  std::vector<NamedTensor> result;
  const auto add = [&](const char* name, const Matrix& m) {
    result.push_back(tensor(prefix + name + ".weight", DType::kBf16, {m.rows, m.columns}, m.bf16));
  };
  add("q_a_proj", w.q_a);
  add("kv_a_proj_with_mqa", w.kv_a);
  add("q_b_proj", w.q_b);
  add("kv_b_proj", w.kv_b);
  add("o_proj", w.o);
  add("indexer.wq_b", w.iq);
  add("indexer.wk", w.ik);
  add("indexer.weights_proj", w.iw);
  const auto add_vector = [&](const char* name, const std::vector<float>& values) {
    result.push_back(
        tensor(prefix + name, DType::kF32, {static_cast<std::int64_t>(values.size())}, values));
  };
  add_vector("q_a_layernorm.weight", w.q_a_norm);
  add_vector("kv_a_layernorm.weight", w.kv_a_norm);
  add_vector("indexer.k_norm.weight", w.k_norm);
  add_vector("indexer.k_norm.bias", w.k_norm_bias);
  return result;
}

TEST_F(CheckpointTest, ReadsBackWhatWasWritten) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(write_safetensors(directory / "a.safetensors",
                                std::vector{tensor("x", DType::kF32, {2, 3}, values)}));
  auto file = SafetensorsFile::open(directory / "a.safetensors").value();
  EXPECT_THAT(file.names(), ElementsAre("x"));
  const auto read = file.read("x").value();
  EXPECT_THAT(read.shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(read.bytes.data(), values.data(), 24), 0);
  EXPECT_EQ(file.read("y").error().code(), Errc::kNotFound);
}

TEST_F(CheckpointTest, ReadsALayerOfAModelOrAModuleAlone) {
  LayerSpec spec = small_spec();
  spec.layer = 3;
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  for (const std::string prefix : {"model.layers.3.self_attn.", ""}) {
    ASSERT_TRUE(write_safetensors(directory / "model.safetensors", tensors(weights, prefix)));
    const auto read = read_weights(directory / "model.safetensors", spec);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->q_b.bf16, weights.q_b.bf16);
    EXPECT_EQ(read->k_norm_bias, weights.k_norm_bias);
  }
}

TEST_F(CheckpointTest, ARankTakesItsHeads) {
  LayerSpec spec = small_spec();
  spec.heads = 16;
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  ASSERT_TRUE(write_safetensors(directory / "model.safetensors", tensors(weights, "")));
  spec.heads = 8;
  const auto read = read_weights(directory / "model.safetensors", spec).value();
  EXPECT_EQ(read.q_b.rows, 8 * spec.query_dim());
  EXPECT_EQ(read.o.columns, 8 * spec.v);
  EXPECT_EQ(read.o.bf16[8 * spec.v], weights.o.bf16[16 * spec.v]) << "second row";
}

TEST_F(CheckpointTest, FollowsTheIndexOfShards) {
  LayerSpec spec = small_spec();
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  auto all = tensors(weights, "model.layers.0.self_attn.");
  const auto half = all.begin() + 4;
  ASSERT_TRUE(write_safetensors(directory / "1.safetensors", std::vector(all.begin(), half)));
  ASSERT_TRUE(write_safetensors(directory / "2.safetensors", std::vector(half, all.end())));
  std::string map;
  for (std::size_t i = 0; i < all.size(); ++i)
    map +=
        fmt::format(R"({}"{}": "{}.safetensors")", i == 0 ? "" : ", ", all[i].name, i < 4 ? 1 : 2);
  ASSERT_TRUE(write_file(directory / "model.safetensors.index.json",
                         fmt::format(R"({{"weight_map": {{{}}}}})", map)));
  EXPECT_TRUE(read_weights(directory, spec));
  ASSERT_TRUE(write_file(directory / "model.safetensors.index.json",
                         R"({"weight_map": {"model.layers.0.self_attn.x": "../1.safetensors"}})"));
  EXPECT_THAT(read_weights(directory, spec).error().message(), HasSubstr("not a file beside it"));
}

TEST_F(CheckpointTest, KeepsOrWidensFp8Blocks) {
  LayerSpec spec = small_spec();
  auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  quantise_blocks(weights.q_a);
  auto all = tensors(weights, "");
  all[0] = tensor("q_a_proj.weight", DType::kE4m3, {spec.q_lora, spec.hidden}, weights.q_a.fp8);
  all.push_back(tensor("q_a_proj.weight_scale_inv", DType::kF32, {1, 1}, weights.q_a.scales));
  ASSERT_TRUE(write_safetensors(directory / "model.safetensors", all));
  EXPECT_EQ(read_weights(directory, spec)->q_a.bf16, weights.q_a.bf16);
  EXPECT_TRUE(read_weights(directory, spec)->q_a.fp8.empty());
  spec.projections = Projections::kFp8Block;
  EXPECT_EQ(read_weights(directory, spec)->q_a.fp8, weights.q_a.fp8);
}

TEST_F(CheckpointTest, NamesTheTensorThatIsMissingOrHasAnotherShape) {
  const LayerSpec spec = small_spec();
  auto all = tensors(random_weights(spec, 1, ScoreDistribution::kNormal), "");
  all.erase(all.begin() + 4);
  ASSERT_TRUE(write_safetensors(directory / "model.safetensors", all));
  EXPECT_THAT(read_weights(directory, spec).error().message(), HasSubstr("o_proj.weight"));
  LayerSpec wider = spec;
  wider.q_lora = 64;
  EXPECT_THAT(read_weights(directory, wider).error().message(), HasSubstr("needs 64 x 96"));
}

TEST_F(CheckpointTest, RefusesAVectorInFp8) {
  const LayerSpec spec = small_spec();
  auto all = tensors(random_weights(spec, 1, ScoreDistribution::kNormal), "");
  const std::vector<std::uint8_t> ones(spec.q_lora, 0x38);
  all[8] = tensor("q_a_layernorm.weight", DType::kE4m3, {spec.q_lora}, ones);
  ASSERT_TRUE(write_safetensors(directory / "model.safetensors", all));
  const auto read = read_weights(directory, spec);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), HasSubstr("'q_a_layernorm.weight' is fp8"));
}

TEST(SafetensorsHeaderTest, RefusesWhatContradictsItself) {
  const auto refused = [](std::string_view json) { return !check_safetensors_header(json, 100); };
  EXPECT_FALSE(refused(R"({})"));
  EXPECT_FALSE(refused(R"({"__metadata__": {"a": "b"}})"));
  EXPECT_FALSE(refused(R"({"x": {"dtype": "F32", "shape": [25], "data_offsets": [0, 100]}})"));
  EXPECT_FALSE(refused(R"({"x": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}})"));
  EXPECT_TRUE(refused(R"([])"));
  EXPECT_TRUE(refused(R"({"x": 3})"));
  EXPECT_TRUE(refused(R"({"x": {"dtype": "F32", "shape": [26], "data_offsets": [0, 104]}})"));
  EXPECT_TRUE(refused(R"({"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})"));
  EXPECT_TRUE(refused(R"({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}})"));
  EXPECT_TRUE(refused(R"({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})"));
  EXPECT_TRUE(refused(
      R"({"x": {"dtype": "F32", "shape": [1099511627776, 1099511627776], "data_offsets": [0, 0]}})"));
  EXPECT_TRUE(refused("{\"x\": \xff}"));
}

}  // namespace
}  // namespace dsaperf::op
