#include "dsaperf/core/data_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace dsaperf {
namespace {

class DataDirTest : public ::testing::Test {
 protected:
  ~DataDirTest() override { ::unsetenv("DSAPERF_DATA"); }
};

TEST_F(DataDirTest, IsFoundFromTheBuildTree) {
  ::unsetenv("DSAPERF_DATA");
  const auto found = data_dir();
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_TRUE(std::filesystem::is_directory(*found / "configs"));
}

TEST_F(DataDirTest, FollowsTheNamedFolderOrSaysWhyNot) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "named_data";
  std::filesystem::create_directories(folder / "configs");
  set_data_dir(folder.native());
  EXPECT_EQ(data_dir().value(), folder);
  set_data_dir("/nowhere");
  EXPECT_THAT(data_dir().error().message(), ::testing::HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace dsaperf
