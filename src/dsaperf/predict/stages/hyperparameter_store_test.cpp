#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace dsaperf::predict::stages {
namespace {

namespace fs = std::filesystem;

// A cache of its own, with these lines below the header.
class HyperparameterStoreTest : public testing::Test {
 protected:
  HyperparameterStoreTest() { fs::create_directories(folder / "dsaperf"); }
  ~HyperparameterStoreTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  HyperparameterStore open(const std::vector<std::string>& lines) const {
    std::ofstream(folder / "dsaperf/parameters.csv") << "hash,...\n"
                                                     << fmt::format("{}\n", fmt::join(lines, "\n"));
    setenv("XDG_CACHE_HOME", folder.c_str(), 1);
    auto store = HyperparameterStore::open();
    unsetenv("XDG_CACHE_HOME");
    return store;
  }
  static std::string text_of(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  // Tests run beside each other, a process each.
  const fs::path folder =
      fs::path(testing::TempDir()) / fmt::format("dsaperf-hyperparameters-{}", getpid());
};

Part part_of(std::uint64_t hash) {
  Part part;
  part.hash = hash;
  part.setting.phase = perfdb::Phase::kContext;
  part.setting.regime = Regime::kDense;
  return part;
}

// Numbers 1 to 33, then as many weights as the part has, and two of the host.
std::string line_of(std::uint64_t hash) {
  std::vector<int> numbers;
  for (int i = 1; i <= 33; ++i) numbers.push_back(i);
  std::vector<double> weights;
  for (std::size_t i = 0; i < terms(perfdb::Phase::kContext, Regime::kDense).size() + 2; ++i)
    weights.push_back(0.5 * static_cast<double>(i));
  return fmt::format("{:016x},{},{},\"spike, 3 rows\",what it is", hash, fmt::join(numbers, ","),
                     fmt::join(weights, " "));
}

TEST_F(HyperparameterStoreTest, AnswersWhatItsFileHolds) {
  auto store = open({line_of(0x1234), line_of(0x99)});
  const auto part = part_of(0x1234);
  ASSERT_TRUE(store.knows(part));
  const auto parameters = store.of(part);
  EXPECT_EQ(parameters.hyper.length[0], 1);
  EXPECT_EQ(parameters.calibration.body.between[0], 19);
  EXPECT_EQ(parameters.calibration.edge.between[3], 32);
  EXPECT_EQ(parameters.host_floor_ms, 33);
  EXPECT_EQ(parameters.weights.score_pieces, 0);
  EXPECT_EQ(parameters.weights.contexts, 0.5);
  EXPECT_EQ(parameters.weights.terms.front(), 1);
  EXPECT_EQ(store.defects_of(part), "spike, 3 rows");
  EXPECT_EQ(store.fitted(), 0U);
  EXPECT_FALSE(store.knows(part_of(0x1235)));
}

TEST_F(HyperparameterStoreTest, ADamagedLineIsAPartThatIsNotKnown) {
  auto cut = line_of(0x77);
  cut.resize(cut.size() / 2);
  auto store = open({cut, "", "no hash", line_of(0x99)});
  EXPECT_FALSE(store.knows(part_of(0x77)));
  EXPECT_TRUE(store.knows(part_of(0x99)));
}

TEST_F(HyperparameterStoreTest, WritesThePartsNamedAskedForOrNot) {
  auto store = open({line_of(0x1234), line_of(0x99), line_of(0xAB)});
  ASSERT_TRUE(store.knows(part_of(0x99)));
  const auto all_left_out = store.write(folder / "written.csv", {});  // shipped ones are known too
  const auto written = store.write(folder / "written.csv", {0x1234, 0x99, 0xFFFF});
  ASSERT_TRUE(all_left_out && written);
  EXPECT_EQ(all_left_out->lines, 0U);
  EXPECT_GE(written->left_out, 1U);
  EXPECT_EQ(written->lines, 2U);
  EXPECT_EQ(written->left_out + 2, all_left_out->left_out);
  const auto text = text_of(folder / "written.csv");
  EXPECT_NE(text.find(line_of(0x1234)), std::string::npos);
  EXPECT_NE(text.find(line_of(0x99)), std::string::npos);
  EXPECT_EQ(text.find(line_of(0xAB)), std::string::npos);
}

// The fitted numbers have more digits than their line.
TEST_F(HyperparameterStoreTest, WhatIsFittedIsWhatTheNextRunReads) {
  setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  auto part = part_of(0x5150);
  part.setting.gemm_flops = part.setting.bf16_flops = part.setting.fp8_flops = 1e12;
  part.setting.bytes = part.setting.l2_bytes = 4e9;
  for (const double heads : {8, 16, 32}) {
    for (double tokens = 64; tokens <= 2048; tokens *= 2) {
      part.observations.push_back(
          {.sizes = {.heads = heads, .batch = 1, .new_tokens = tokens, .past_tokens = 0},
           .latency_ms = 0.2 + 1e-6 * heads * tokens + 1e-3 * std::sin(tokens)});
    }
  }
  const auto fitted = HyperparameterStore::open().of(part);
  auto next = HyperparameterStore::open();
  unsetenv("XDG_CACHE_HOME");
  ASSERT_TRUE(next.knows(part));
  const auto read = next.of(part);
  EXPECT_EQ(next.fitted(), 0U);
  EXPECT_EQ(fitted.hyper.length, read.hyper.length);
  EXPECT_EQ(fitted.hyper.signal, read.hyper.signal);
  EXPECT_EQ(fitted.calibration.body.between, read.calibration.body.between);
  EXPECT_EQ(fitted.weights.terms, read.weights.terms);
}

}  // namespace
}  // namespace dsaperf::predict::stages
