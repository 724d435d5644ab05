#include "dsaperf/op/block_pool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace dsaperf::op {
namespace {

using testing::ElementsAre;

std::vector<std::int32_t> table(const BlockPool& pool, RequestId request) {
  const auto pages = pool.block_table(request).value();
  return {pages.begin(), pages.end()};
}

TEST(BlockPoolTest, AppendFillsPagesInOrder) {
  auto pool = BlockPool::create(4).value();
  const RequestId a = pool.add_request();
  EXPECT_EQ(pool.append(a, 63)->slots.back(), 62);
  EXPECT_THAT(pool.append(a, 3)->slots, ElementsAre(63, 64, 65));
  EXPECT_THAT(table(pool, a), ElementsAre(0, 1));
  EXPECT_EQ(pool.length(a).value(), 66);
  EXPECT_EQ(pool.free_pages(), 2);
}

TEST(BlockPoolTest, OutOfMemoryLeavesThePoolAsItWas) {
  auto pool = BlockPool::create(2).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 100));
  const auto refused = pool.append(a, 29);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kOutOfMemory);
  EXPECT_EQ(pool.length(a).value(), 100);
  EXPECT_EQ(pool.free_pages(), 0);
  EXPECT_TRUE(pool.append(a, 28)) << "the rest of the last page";
}

TEST(BlockPoolTest, RemovedPagesServeAgain) {
  auto pool = BlockPool::create(2).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 128));
  ASSERT_TRUE(pool.remove_request(a));
  EXPECT_EQ(pool.free_pages(), 2);
  EXPECT_EQ(pool.remove_request(a).error().code(), Errc::kNotFound);
  EXPECT_TRUE(pool.append(pool.add_request(), 128));
}

TEST(BlockPoolTest, AForkSharesPagesAndCopiesTheOneItWrites) {
  auto pool = BlockPool::create(8).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 100));
  const RequestId b = pool.fork(a, 80).value();
  EXPECT_EQ(pool.free_pages(), 6) << "nothing is copied by forking";
  const auto appended = pool.append(b, 1).value();
  ASSERT_EQ(appended.copies.size(), 1U);
  EXPECT_EQ(appended.copies[0].from, 1);
  EXPECT_EQ(appended.copies[0].to, 2);
  EXPECT_THAT(appended.slots, ElementsAre(2 * 64 + 16));
  EXPECT_THAT(table(pool, a), ElementsAre(0, 1));
  EXPECT_THAT(table(pool, b), ElementsAre(0, 2));
  EXPECT_TRUE(pool.append(a, 1)->copies.empty()) << "its last page is its own again";
}

TEST(BlockPoolTest, AForkAtAPageBoundaryNeverCopies) {
  auto pool = BlockPool::create(4).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 64));
  const RequestId b = pool.fork(a, 64).value();
  EXPECT_TRUE(pool.append(b, 1)->copies.empty());
  EXPECT_TRUE(pool.append(a, 1)->copies.empty());
}

TEST(BlockPoolTest, TheWriterOfASharedPageCopiesEvenIfItIsTheParent) {
  auto pool = BlockPool::create(4).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 10));
  const RequestId b = pool.fork(a, 10).value();
  EXPECT_EQ(pool.append(a, 1)->copies.size(), 1U);
  EXPECT_TRUE(pool.append(b, 1)->copies.empty());
}

TEST(BlockPoolTest, CopyOnWriteCountsTowardsTheNeededPages) {
  auto pool = BlockPool::create(1).value();
  const RequestId a = pool.add_request();
  ASSERT_TRUE(pool.append(a, 10));
  const RequestId b = pool.fork(a, 10).value();
  EXPECT_EQ(pool.append(b, 1).error().code(), Errc::kOutOfMemory);
  EXPECT_TRUE(pool.append(b, 0));
  EXPECT_THAT(table(pool, b), ElementsAre(0));
}

TEST(BlockPoolTest, RefusesWhatDoesNotExist) {
  auto pool = BlockPool::create(1).value();
  EXPECT_EQ(pool.append(7, 1).error().code(), Errc::kNotFound);
  EXPECT_EQ(pool.fork(7, 0).error().code(), Errc::kNotFound);
  EXPECT_EQ(pool.length(7).error().code(), Errc::kNotFound);
  const RequestId a = pool.add_request();
  EXPECT_EQ(pool.append(a, -1).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(pool.append(a, std::int64_t{1} << 62).error().code(), Errc::kOutOfMemory);
  EXPECT_EQ(pool.fork(a, 1).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(BlockPool::create(-1).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(BlockPool::create(1 << 25).error().code(), Errc::kInvalidArgument);
}

// Random operations against the plain statement of what a pool is: every request's content is a
// list of token ids; a slot that two requests share must hold the same token for both.
TEST(BlockPoolTest, RandomOperationsNeverMixRequests) {
  std::mt19937 engine(2);
  auto pool = BlockPool::create(20).value();
  std::map<RequestId, std::vector<int>> content;
  std::map<std::int64_t, int> memory;
  int next_token = 0;
  for (int step = 0; step < 4000; ++step) {
    const auto pick = [&] {
      auto it = content.begin();
      std::advance(it, engine() % content.size());
      return it->first;
    };
    const auto action = engine() % 8;
    if (content.empty() || action == 0) {
      content[pool.add_request()] = {};
    } else if (action == 1) {
      const RequestId gone = pick();
      ASSERT_TRUE(pool.remove_request(gone));
      content.erase(gone);
    } else if (action == 2) {
      const RequestId parent = pick();
      const auto shared = static_cast<std::int64_t>(engine() % (content[parent].size() + 1));
      const RequestId child = pool.fork(parent, shared).value();
      content[child] = {content[parent].begin(), content[parent].begin() + shared};
    } else {
      const RequestId request = pick();
      const auto count = static_cast<std::int64_t>(engine() % 150);
      const std::int64_t free_before = pool.free_pages();
      const auto appended = pool.append(request, count);
      if (!appended) {
        EXPECT_EQ(pool.free_pages(), free_before);
      } else {
        for (const auto& [from, to] : appended->copies)
          for (int i = 0; i < 64; ++i)
            if (memory.contains(from * 64 + i)) memory[to * 64 + i] = memory[from * 64 + i];
        for (const std::int64_t slot : appended->slots) {
          memory[slot] = next_token;
          content[request].push_back(next_token++);
        }
      }
    }
    for (const auto& [request, tokens] : content) {
      ASSERT_EQ(pool.length(request).value(), static_cast<std::int64_t>(tokens.size()));
      const auto pages = pool.block_table(request).value();
      for (std::size_t i = 0; i < tokens.size(); ++i)
        ASSERT_EQ(memory[std::int64_t{pages[i / 64]} * 64 + static_cast<int>(i % 64)], tokens[i]);
    }
  }
  for (const auto& [request, tokens] : content) ASSERT_TRUE(pool.remove_request(request));
  EXPECT_EQ(pool.free_pages(), 20);
}

}  // namespace
}  // namespace dsaperf::op
