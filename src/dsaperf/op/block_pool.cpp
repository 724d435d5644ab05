#include "dsaperf/op/block_pool.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <ranges>

namespace dsaperf::op {
namespace {

using kernels::kPageTokens;

std::int64_t pages_for(std::int64_t tokens) {
  return ceil_div(tokens, kPageTokens);
}

tl::unexpected<Error> unknown(RequestId request) {
  return fail(Errc::kNotFound, "cache: no request {}", request);
}

}  // namespace

Result<BlockPool> BlockPool::create(std::int64_t pages) {
  if (pages < 0 || pages >= std::int64_t{1} << 25)
    return fail(Errc::kInvalidArgument, "cache: {} pages is not 0 ... 2^25 - 1", pages);
  return BlockPool(pages);
}

BlockPool::BlockPool(std::int64_t pages) : owners_(pages, 0) {
  for (std::int64_t page = pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
}

Result<BlockPool::Request*> BlockPool::find(RequestId request) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return unknown(request);
  return &found->second;
}

std::int32_t BlockPool::take() {
  const std::int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  return page;
}

RequestId BlockPool::add_request() {
  requests_.emplace(next_, Request{});
  return next_++;
}

Result<void> BlockPool::remove_request(RequestId request) {
  DSAPERF_TRY_ASSIGN(const Request* removed, find(request));
  for (const auto page : std::views::reverse(removed->pages))
    if (--owners_[page] == 0) free_.push_back(page);
  requests_.erase(request);
  return {};
}

Result<BlockPool::Appended> BlockPool::append(RequestId request, std::int64_t tokens) {
  DSAPERF_TRY_ASSIGN(Request* const target, find(request));
  if (tokens < 0 || tokens > pages() * kPageTokens)
    return fail(tokens < 0 ? Errc::kInvalidArgument : Errc::kOutOfMemory,
                "cache: cannot append {} tokens to a pool of {} pages", tokens, pages());
  const std::int64_t have = static_cast<std::int64_t>(target->pages.size());
  const std::int64_t need = pages_for(target->length + tokens);
  // Only the last page can be both shared and half full.
  const bool copies_last =
      tokens > 0 && target->length % kPageTokens != 0 && owners_[target->pages.back()] > 1;
  const std::int64_t taken = need - have + (copies_last ? 1 : 0);
  if (taken > free_pages())
    return fail(Errc::kOutOfMemory, "cache: request {} needs {} pages for {} tokens, {} are free",
                request, taken, tokens, free_pages());
  Appended appended;
  if (copies_last) {
    const std::int32_t shared = target->pages.back();
    --owners_[shared];
    target->pages.back() = take();
    appended.copies.push_back({.from = shared, .to = target->pages.back()});
  }
  while (static_cast<std::int64_t>(target->pages.size()) < need) target->pages.push_back(take());
  for (std::int64_t i = 0; i < tokens; ++i) {
    const std::int64_t position = target->length + i;
    appended.slots.push_back(std::int64_t{target->pages[position / kPageTokens]} * kPageTokens +
                             position % kPageTokens);
  }
  target->length += tokens;
  return appended;
}

Result<RequestId> BlockPool::fork(RequestId parent, std::int64_t tokens) {
  DSAPERF_TRY_ASSIGN(const Request* source, find(parent));
  if (tokens < 0 || tokens > source->length)
    return fail(Errc::kInvalidArgument, "cache: request {} has {} tokens, cannot share {}", parent,
                source->length, tokens);
  Request forked{.length = tokens,
                 .pages = {source->pages.begin(), source->pages.begin() + pages_for(tokens)}};
  for (const std::int32_t page : forked.pages) ++owners_[page];
  requests_.emplace(next_, std::move(forked));
  return next_++;
}

Result<std::int64_t> BlockPool::length(RequestId request) const {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return unknown(request);
  return found->second.length;
}

Result<std::span<const std::int32_t>> BlockPool::block_table(RequestId request) const {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return unknown(request);
  return std::span<const std::int32_t>(found->second.pages);
}

}  // namespace dsaperf::op
