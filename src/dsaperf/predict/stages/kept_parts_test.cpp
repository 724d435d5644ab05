#include "dsaperf/predict/stages/kept_parts.hpp"

#include "dsaperf/predict/stages/testing/card.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace dsaperf::predict::stages {
namespace {

namespace fs = std::filesystem;

using testing::card;

std::vector<Part> two_parts() {
  const LayerKind kind{.architecture = "DeepseekV32ForCausalLM"};
  std::vector<Part> parts;
  for (const auto regime : {Regime::kDense, Regime::kSparse}) {
    Part part;
    part.kind = kind;
    part.kernel_source = "kernel";
    part.source = 1;
    part.hash = 0xFEDCBA9876543210U;
    part.setting = *make_setting(card(), kind, perfdb::Phase::kGeneration, regime, true);
    part.setting.batch_to = 256;
    part.setting.more_heads = true;
    const double past = regime == Regime::kDense ? 0 : 1048575;
    part.observations = {
        {.sizes = {.heads = 8, .batch = 1, .new_tokens = 1, .past_tokens = past},
         .latency_ms = 0.1},
        {.sizes = {.heads = 128, .batch = 64, .new_tokens = 1, .past_tokens = past},
         .latency_ms = 1 / 3.0}};
    parts.push_back(std::move(part));
  }
  return parts;
}

// A cache of its own, and one file of rows.
class KeptPartsTest : public ::testing::Test {
 protected:
  KeptPartsTest() {
    fs::create_directories(folder);
    std::ofstream(table()) << "rows";
  }
  ~KeptPartsTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  fs::path table() const { return folder / "rows.parquet"; }
  fs::path file() const { return folder / "parts/card-sglang-1.0-generation"; }
  KeptParts kept(const perfdb::SystemFile& system = card()) const {
    return {
        folder,
        system,
        "sglang",
        "1.0",
        perfdb::Phase::kGeneration,
        {{.path = table(), .backend = "sglang", .version = "1.0", .kernel_sources = {"kernel"}}}};
  }

  const fs::path folder =
      fs::path(::testing::TempDir()) / fmt::format("dsaperf-kept-parts-{}", getpid());
};

TEST_F(KeptPartsTest, AreReadAsTheyWereWritten) {
  EXPECT_FALSE(kept().read(card()));
  const auto parts = two_parts();
  kept().write(parts);
  const auto read = kept().read(card());
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2U);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto& a = (*read)[p];
    const auto& b = parts[p];
    EXPECT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.setting, b.setting);
    EXPECT_EQ(a.kernel_source, b.kernel_source);
    EXPECT_EQ(a.source, b.source);
    EXPECT_EQ(a.hash, b.hash);
    ASSERT_EQ(a.observations.size(), b.observations.size());
    for (std::size_t i = 0; i < a.observations.size(); ++i) {
      EXPECT_EQ(a.observations[i].sizes.axes(), b.observations[i].sizes.axes());
      EXPECT_EQ(a.observations[i].latency_ms, b.observations[i].latency_ms);
    }
  }
}

TEST_F(KeptPartsTest, OfATableThatChangedAreNotThere) {
  kept().write(two_parts());
  fs::last_write_time(table(), fs::last_write_time(table()) + std::chrono::seconds(1));
  EXPECT_FALSE(kept().read(card()));
}

TEST_F(KeptPartsTest, OfACardThatChangedAreNotThere) {
  kept().write(two_parts());
  auto faster = card();
  faster.mem_bw *= 1.5;
  EXPECT_FALSE(kept(faster).read(faster));
}

TEST_F(KeptPartsTest, OfADamagedFileAreNotThere) {
  kept().write(two_parts());
  const auto size = fs::file_size(file());
  for (std::uintmax_t length = 0; length < size; ++length) {
    kept().write(two_parts());
    fs::resize_file(file(), length);
    EXPECT_FALSE(kept().read(card())) << length;
  }
}

TEST_F(KeptPartsTest, OfAFileWithAnotherByteAreNotThere) {
  kept().write(two_parts());
  const auto size = fs::file_size(file());
  for (std::uintmax_t at = 0; at < size; ++at) {
    kept().write(two_parts());
    std::fstream damaged(file(), std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekg(static_cast<std::streamoff>(at));
    const int byte = damaged.get();
    damaged.seekp(static_cast<std::streamoff>(at));
    damaged.put(static_cast<char>(byte ^ 0x55));
    damaged.close();
    EXPECT_FALSE(kept().read(card())) << at;
  }
}

TEST_F(KeptPartsTest, WithoutACacheNothingIsKept) {
  const KeptParts none({}, card(), "sglang", "1.0", perfdb::Phase::kGeneration, {});
  none.write(two_parts());
  EXPECT_FALSE(none.read(card()));
}

}  // namespace
}  // namespace dsaperf::predict::stages
