#include "dsaperf/kernels/norm_rope.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace dsaperf::kernels {
namespace {

// Two tokens; nothing is computed, so all may share memory.
class NormRopeTest : public ::testing::Test {
 protected:
  RmsNormParams rms() {
    return {.x = bits.data(),
            .weight = floats.data(),
            .out = bits.data(),
            .rows = 2,
            .dim = 128,
            .x_stride = 128,
            .out_stride = 128,
            .eps = 1e-6F};
  }
  RopeParams rope() {
    return {.x = bits.data(),
            .cos_sin = floats.data(),
            .positions = positions.data(),
            .tokens = 2,
            .table_rows = 2,
            .heads = 1,
            .dim = 64,
            .token_stride = 128};
  }
  NormRopeParams stage() {
    return {.query = rms(),
            .quantised = {.x = bits.data(),
                          .values = bytes.data(),
                          .scales = floats.data(),
                          .rows = 2,
                          .dim = 128,
                          .x_stride = 128,
                          .values_stride = 128,
                          .scales_stride = 1},
            .latent = rms(),
            .key = rope()};
  }
  IndexerNormRopeParams indexer() {
    return {.query = rope(),
            .key_norm = {.x = bits.data(),
                         .weight = floats.data(),
                         .bias = floats.data(),
                         .out = bits.data(),
                         .rows = 2,
                         .dim = 128,
                         .x_stride = 128,
                         .out_stride = 128,
                         .eps = 1e-6F},
            .key = rope()};
  }

  IndexKeyWriteParams index_key() {
    return {.norm = indexer().key_norm,
            .rope = rope(),
            .quantised = {.x = bits.data(),
                          .values = bytes.data(),
                          .scales = floats.data(),
                          .rows = 2,
                          .x_stride = 128},
            .write = {.values = bytes.data(),
                      .scales = floats.data(),
                      .slots = slots.data(),
                      .pages = bytes.data(),
                      .tokens = 2,
                      .page_count = 1,
                      .page_stride_bytes = 8448}};
  }

  std::vector<std::uint16_t> bits = std::vector<std::uint16_t>(256);
  std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(256);
  std::vector<float> floats = std::vector<float>(256);
  std::vector<std::int32_t> positions = {0, 1};
  std::vector<std::int64_t> slots = {0, 1};
};

TEST_F(NormRopeTest, TakesPartsThatContinueEachOther) {
  EXPECT_TRUE(norm_rope_check(stage()));
  EXPECT_TRUE(indexer_norm_rope_check(indexer()));
  EXPECT_TRUE(index_key_write_check(index_key()));
  auto unquantised = stage();
  unquantised.quantised = {};
  EXPECT_TRUE(norm_rope_check(unquantised));
}

TEST_F(NormRopeTest, RefusesPartsOfDifferentTokens) {
  auto params = stage();
  params.latent.rows = 1;
  EXPECT_EQ(norm_rope_check(params).error().code(), Errc::kInvalidArgument);
  params = stage();
  params.key.tokens = 1;
  EXPECT_EQ(norm_rope_check(params).error().code(), Errc::kInvalidArgument);
  auto keys = indexer();
  keys.query.tokens = 1;
  EXPECT_EQ(indexer_norm_rope_check(keys).error().code(), Errc::kInvalidArgument);
}

TEST_F(NormRopeTest, RefusesPartsThatDoNotContinueEachOther) {
  auto params = stage();
  params.quantised.x = floats.data();
  EXPECT_EQ(norm_rope_check(params).error().code(), Errc::kInvalidArgument);
  params = stage();
  params.quantised.dim = 64;
  EXPECT_EQ(norm_rope_check(params).error().code(), Errc::kInvalidArgument);
  auto keys = indexer();
  keys.key.x = bits.data() + 64;
  EXPECT_EQ(indexer_norm_rope_check(keys).error().code(), Errc::kInvalidArgument);
  keys = indexer();
  keys.key.heads = 2;
  keys.key.head_stride = 64;
  EXPECT_EQ(indexer_norm_rope_check(keys).error().code(), Errc::kInvalidArgument);
}

TEST_F(NormRopeTest, RefusesAnIndexKeyWhosePartsDoNotContinueEachOther) {
  const auto refused = [&](const auto& change) {
    auto params = index_key();
    change(params);
    const auto checked = index_key_write_check(params);
    return !checked && checked.error().code() == Errc::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& p) { p.rope.tokens = 1; }));
  EXPECT_TRUE(refused([](auto& p) { p.write.tokens = 1; }));
  EXPECT_TRUE(refused([&](auto& p) { p.rope.x = bits.data() + 64; }));
  EXPECT_TRUE(refused([&](auto& p) { p.quantised.x = bits.data() + 128; }));
  EXPECT_TRUE(refused([](auto& p) { p.quantised.scales = nullptr; }));
  EXPECT_TRUE(refused([&](auto& p) { p.write.values = bytes.data() + 128; }));
  EXPECT_TRUE(refused([](auto& p) { p.norm.bias = nullptr; }));
}

TEST_F(NormRopeTest, RefusesWhatAPartRefuses) {
  auto params = stage();
  params.query.weight = nullptr;
  EXPECT_EQ(norm_rope_check(params).error().code(), Errc::kInvalidArgument);
  auto keys = indexer();
  keys.key_norm.bias = nullptr;
  EXPECT_EQ(indexer_norm_rope_check(keys).error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace dsaperf::kernels
