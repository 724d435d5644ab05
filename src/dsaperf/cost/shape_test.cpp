#include "dsaperf/cost/shape.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace dsaperf::cost {
namespace {

constexpr auto kBf16 = model::KvFormat::kBf16;

// Pairs counted one by one.
struct Counted {
  double attended = 0;
  double visible = 0;
};
Counted count(std::int64_t past, std::int64_t fresh, int topk) {
  Counted counted;
  for (std::int64_t i = 1; i <= fresh; ++i) {
    counted.visible += static_cast<double>(past + i);
    counted.attended += static_cast<double>(std::min<std::int64_t>(past + i, topk));
  }
  return counted;
}

TEST(WorkTest, PairsAreThoseCountedOneByOne) {
  for (const auto& [past, fresh] : {std::pair{0, 1},
                                    {0, 63},
                                    {0, 64},
                                    {0, 65},
                                    {10, 60},
                                    {63, 1},
                                    {63, 2},
                                    {64, 1},
                                    {1000, 37},
                                    {0, 1000}}) {
    const auto work = work_of(Shape::prefill(3, fresh, past, 8, kBf16), 64, 1);
    ASSERT_TRUE(work);
    const auto expected = count(past, fresh, 64);
    EXPECT_DOUBLE_EQ(work->dense_pairs + work->sparse_pairs, 3 * expected.attended)
        << past << "+" << fresh;
    EXPECT_DOUBLE_EQ(work->scored_pairs, past + fresh > 64 ? 3 * expected.visible : 0);
  }
}

TEST(WorkTest, EachRequestIsInItsOwnRegime) {
  const Shape ragged{.requests = {{.count = 2, .new_tokens = 10, .past_tokens = 0},
                                  {.count = 1, .new_tokens = 10, .past_tokens = 100}},
                     .heads = 8};
  const auto work = work_of(ragged, 64, 1);
  ASSERT_TRUE(work);
  EXPECT_EQ(work->tokens, 30);
  EXPECT_EQ(work->selecting_tokens, 10);
  EXPECT_EQ(work->dense_rows, 20);
  EXPECT_EQ(work->sparse_pairs, 640);
}

TEST(WorkTest, WithoutSelectionEverythingIsDense) {
  const auto work = work_of(Shape::decode(1, 1, 100000, 8, kBf16), 0, 1);
  ASSERT_TRUE(work);
  EXPECT_EQ(work->dense_pairs, 100001);
  EXPECT_FALSE(work->any_sparse());
}

TEST(WorkTest, PooledKeysAreFewer) {
  const auto work = work_of(Shape::decode(1, 1, 4095, 8, kBf16), 64, 4);
  ASSERT_TRUE(work);
  EXPECT_EQ(work->scored_rows, 1024);
}

TEST(WorkTest, NegativeAndAbsurdSizesAreRefused) {
  EXPECT_FALSE(work_of(Shape::prefill(1, -1, 0, 8, kBf16), 64, 1));
  EXPECT_FALSE(work_of(Shape::prefill(1, 1, std::int64_t{1} << 50, 8, kBf16), 64, 1));
  EXPECT_FALSE(work_of(Shape::prefill(1, 1, 0, 8, kBf16), 64, 0));
}

}  // namespace
}  // namespace dsaperf::cost
