#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/block_pool.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace dsaperf::op {

struct BatchRequest {
  RequestId request = 0;
  std::int64_t new_tokens = 0;
};

// The caches of one layer, in the backend's memory: latent rows (bf16 or fp8) and index keys, in
// pages of 64 tokens that both share by number. Layouts are those of kernels/layout.hpp, which
// FlashMLA and DeepGEMM read.
//
// Every operation either succeeds or leaves the caches as they were; memory that is missing is
// kOutOfMemory. Not thread-safe. The backend must outlive it.
class CacheManager {
 public:
  struct Options {
    std::int64_t pages = 0;
    kernels::KvRows::Format kv = kernels::KvRows::Format::kBf16;
    bool index_keys = true;  // a layer that shares a selection has none
    kernels::ScaleFormat kv_scales = kernels::ScaleFormat::kUe8m0;
  };

  static Result<CacheManager> create(Backend& backend, const Options& options);

  RequestId add_request() { return pool_.add_request(); }
  Result<void> remove_request(RequestId request) { return pool_.remove_request(request); }
  // Room for new tokens; returns their slots, request after request. Shared pages that they fall
  // into are copied first. All requests get room or none.
  Result<std::vector<std::int64_t>> append(std::span<const BatchRequest> requests);
  Result<std::vector<std::int64_t>> append(RequestId request, std::int64_t tokens) {
    const BatchRequest one{.request = request, .new_tokens = tokens};
    return append({&one, 1});
  }
  // A new request that starts with the first `tokens` of `parent`, without copying them.
  Result<RequestId> fork(RequestId parent, std::int64_t tokens) {
    return pool_.fork(parent, tokens);
  }

  const BlockPool& pool() const { return pool_; }
  const Options& options() const { return options_; }
  // The latent cache as attention reads it: row page * 64 + offset.
  kernels::KvRows kv_rows() const;
  std::uint8_t* index_pages() const { return index_.as<std::uint8_t>(); }

  // Rows of `tokens` new tokens, packed in the backend's memory, into the slots that append()
  // returned.
  kernels::KvCacheWriteParams kv_write(const void* latent, const void* rope,
                                       const std::int64_t* slots, std::int64_t tokens) const;
  kernels::IndexKeyCacheWriteParams index_key_write(const std::uint8_t* values, const float* scales,
                                                    const std::int64_t* slots,
                                                    std::int64_t tokens) const;
  Bytes bytes() const { return {static_cast<std::int64_t>(kv_.bytes() + index_.bytes())}; }

 private:
  CacheManager(Backend& backend, const Options& options, BlockPool pool, Buffer kv, Buffer index)
      : backend_(&backend),
        options_(options),
        pool_(std::move(pool)),
        kv_(std::move(kv)),
        index_(std::move(index)) {}

  Backend* backend_;
  Options options_;
  BlockPool pool_;
  Buffer kv_;
  Buffer index_;
};

}  // namespace dsaperf::op
