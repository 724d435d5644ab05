#include "dsaperf/predict/compatible/rows_as_asked.hpp"

#include "dsaperf/core/fail.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dsaperf::predict::compatible {
namespace {

TEST(RowsAsAskedTest, TheFirstQuestionReadsItsOwnRowsAndTheSecondAll) {
  RowsAsAsked<std::string, int> rows;
  std::vector<std::string> read;
  const auto load = [&](const std::optional<int>& only) -> Result<std::string> {
    read.push_back(only ? "rows of " + std::to_string(*only) : "all");
    return read.back();
  };
  EXPECT_EQ(**rows.of(7, load), "rows of 7");
  EXPECT_EQ(**rows.of(7, load), "rows of 7");
  EXPECT_EQ(**rows.of(8, load), "all");
  EXPECT_EQ(**rows.of(9, load), "all");
  EXPECT_EQ(**rows.of(7, load), "all");
  EXPECT_THAT(read, ::testing::ElementsAre("rows of 7", "all"));
}

TEST(RowsAsAskedTest, WhatFailedIsNotReadAgain) {
  RowsAsAsked<std::string, int> rows;
  int reads = 0;
  const auto load = [&](const std::optional<int>& /*only*/) -> Result<std::string> {
    return fail(Errc::kNotFound, "read {}", ++reads);
  };
  EXPECT_EQ(rows.of(7, load).error().message(), "read 1");
  EXPECT_EQ(rows.of(7, load).error().message(), "read 1");
  EXPECT_EQ(rows.of(8, load).error().message(), "read 2");
  EXPECT_EQ(rows.of(7, load).error().message(), "read 2");
}

}  // namespace
}  // namespace dsaperf::predict::compatible
