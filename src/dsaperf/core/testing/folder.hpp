#pragma once

#include <gtest/gtest.h>

#include <filesystem>

namespace dsaperf {

// A test with a folder of its own, which does not exist at its beginning and is gone at its end.
class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory = std::filesystem::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  std::filesystem::path directory;
};

}  // namespace dsaperf
