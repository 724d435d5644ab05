#include "dsaperf/core/shared_library.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf {
namespace {

TEST(SharedLibraryTest, FindsAFunction) {
  const auto found = function_of_library("libm.so.6", "sqrt");
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(reinterpret_cast<double (*)(double)>(*found)(9), 3);
}

TEST(SharedLibraryTest, ALibraryThatIsNotThereIsNamed) {
  const auto found = function_of_library("libdsaperf_nothing.so", "sqrt");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::kUnsupported);
  EXPECT_THAT(found.error().message(), ::testing::HasSubstr("libdsaperf_nothing.so"));
}

TEST(SharedLibraryTest, ALibraryWithoutTheFunctionIsOfAnotherVersion) {
  const auto found = function_of_library("libm.so.6", "dsaperf_read_parquet");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::kUnsupported);
  EXPECT_THAT(found.error().message(), ::testing::HasSubstr("libm.so.6 is of another version"));
}

}  // namespace
}  // namespace dsaperf
