#include "dsaperf/core/error.hpp"

#include "dsaperf/core/fail.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace dsaperf {
namespace {

Result<int> positive(int value) {
  if (value <= 0) return fail(Errc::kInvalidArgument, "{} is not positive", value);
  return value;
}

Result<int> doubled(int value) {
  DSAPERF_TRY_ASSIGN(const int checked, positive(value));
  return 2 * checked;
}

TEST(ErrorTest, TryAssignPassesValueOn) {
  EXPECT_EQ(doubled(21).value(), 42);
}

TEST(ErrorTest, TryAssignReturnsTheErrorUnchanged) {
  const auto result = doubled(-1);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(result.error().message(), "-1 is not positive");
}

TEST(ErrorTest, RemembersWhereItWasFirstReported) {
  const auto result = positive(0);
  ASSERT_FALSE(result);
  EXPECT_NE(std::string_view(result.error().where().file_name()).find("error_test.cpp"),
            std::string_view::npos);
}

TEST(ErrorTest, ContextGoesInFront) {
  const auto result =
      positive(0).map_error([](Error error) { return std::move(error).with_context("row 12"); });
  EXPECT_EQ(result.error().message(), "row 12: 0 is not positive");
}

TEST(ErrorTest, TryAssignMovesWhatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto use = [&]() -> Result<int> {
    DSAPERF_TRY_ASSIGN(const auto owned, make());
    return *owned;
  };
  EXPECT_EQ(use().value(), 7);
}

}  // namespace
}  // namespace dsaperf
