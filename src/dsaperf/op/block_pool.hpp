#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace dsaperf::op {

using RequestId = std::int64_t;

// Who owns which page of a paged cache: block tables, nothing of their contents. Pages hold 64
// tokens and are counted, so that requests may share a prefix; a shared page that would be written
// is replaced by a copy first, which the owner of the memory makes (PageCopy).
//
// Every operation either succeeds or leaves the pool as it was.
class BlockPool {
 public:
  struct PageCopy {
    std::int32_t from;
    std::int32_t to;
  };
  struct Appended {
    std::vector<std::int64_t> slots;  // page * 64 + offset of each new token
    std::vector<PageCopy> copies;     // to be made before anything is written
  };

  // Fails with kInvalidArgument unless 0 <= pages < 2^25, so that a slot fits 31 bits.
  static Result<BlockPool> create(std::int64_t pages);

  RequestId add_request();
  // Its pages go back to the pool unless another request shares them.
  Result<void> remove_request(RequestId request);
  // Fails with kOutOfMemory where the pages do not suffice.
  Result<Appended> append(RequestId request, std::int64_t tokens);
  // A new request that starts with the first `tokens` of `parent`, sharing their pages.
  Result<RequestId> fork(RequestId parent, std::int64_t tokens);

  // Fail with kNotFound for an unknown request.
  Result<std::int64_t> length(RequestId request) const;
  // Page numbers of its tokens in order; valid until the pool changes.
  Result<std::span<const std::int32_t>> block_table(RequestId request) const;

  std::int64_t free_pages() const { return static_cast<std::int64_t>(free_.size()); }
  std::int64_t pages() const { return static_cast<std::int64_t>(owners_.size()); }

 private:
  struct Request {
    std::int64_t length = 0;
    std::vector<std::int32_t> pages;
  };

  explicit BlockPool(std::int64_t pages);
  Result<Request*> find(RequestId request);
  std::int32_t take();

  std::map<RequestId, Request> requests_;
  RequestId next_ = 0;
  std::vector<std::int32_t> free_;    // taken from the back; lowest numbers first
  std::vector<std::int32_t> owners_;  // [pages]: requests that list the page
};

}  // namespace dsaperf::op
