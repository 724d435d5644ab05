#pragma once

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/launch.hpp"
#include "emulated_cuda.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace dsaperf::kernels::sm90::testing {

// As aligned as memory of a device.
template <class T>
class Aligned {
 public:
  explicit Aligned(std::size_t size, T fill = {}) : memory_((size * sizeof(T) + 15) / 16) {
    std::fill_n(data(), size, fill);
  }
  T* data() { return reinterpret_cast<T*>(memory_.data()); }

 private:
  std::vector<uint4> memory_;
};

// Requests of decode; keys, queries and weights are normal numbers unless they are said.
struct Requests {
  std::vector<std::int32_t> lengths;
  int heads = 64;
  int q_len = 1;
  bool equal_keys = false;  // all keys alike: scores follow the scales
  float weight = 0;         // of all heads; 0: normal
  std::function<float(int position)> scale_of = [](int) { return 0.5f; };
  unsigned seed = 1;
};

// The memory that a kernel of decode reads and writes, pages in random order.
class PagedInputs {
 public:
  explicit PagedInputs(const Requests& given)
      : requests_(given),
        count_(static_cast<int>(given.lengths.size())),
        rows_(count_ * given.q_len),
        keys_(std::max(*std::ranges::max_element(given.lengths), 1)),
        pages_of_request_((keys_ + kPageTokens - 1) / kPageTokens),
        q_(rows_ * given.heads * kIndexDim),
        pages_(count_ * pages_of_request_ * kIndexPageBytes),
        weights_(rows_ * given.heads),
        scores_(rows_ * stride(), std::numeric_limits<float>::infinity()),
        table_(count_ * pages_of_request_) {
    std::mt19937 engine(given.seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < rows_ * given.heads * kIndexDim; ++i)
      q_.data()[i] = e4m3_from(normal(engine));
    for (int i = 0; i < rows_ * given.heads; ++i)
      weights_.data()[i] = given.weight == 0 ? normal(engine) : given.weight;
    std::iota(table_.begin(), table_.end(), 0);
    std::ranges::shuffle(table_, engine);
    std::vector<std::uint8_t> key(kIndexDim);
    for (auto& byte : key) byte = e4m3_from(normal(engine));
    for (int request = 0; request < count_; ++request) {
      for (int position = 0; position < pages_of_request_ * kPageTokens; ++position) {
        std::uint8_t* page =
            pages_.data() + table_[request * pages_of_request_ + position / kPageTokens] *
                                std::int64_t{kIndexPageBytes};
        if (!given.equal_keys)
          for (auto& byte : key) byte = e4m3_from(normal(engine));
        std::memcpy(page + position % kPageTokens * kIndexDim, key.data(), kIndexDim);
        const float scale = given.scale_of(position);
        std::memcpy(page + kIndexPageScaleOffset + position % kPageTokens * 4, &scale, 4);
      }
    }
  }

  int count() const { return count_; }
  int rows() const { return rows_; }
  int keys() const { return keys_; }
  std::int64_t stride() const { return (keys_ + 7) / 8 * 8; }
  float* scores() { return scores_.data(); }

  // `box_columns`: of one box of q.
  ScoresArguments arguments(int box_columns) {
    return {.q = {.base = q_.data(),
                  .rows = rows_ * requests_.heads,
                  .plane_bytes = 0,
                  .box_rows = box_columns},
            .k = {.base = pages_.data(),
                  .rows = kPageTokens,
                  .plane_bytes = kIndexPageBytes,
                  .box_rows = kPageTokens},
            .k_scales = {},
            .weights = weights_.data(),
            .pages = pages_.data(),
            .block_table = table_.data(),
            .context_length = requests_.lengths.data(),
            .scores = scores_.data(),
            .page_stride_bytes = kIndexPageBytes,
            .block_table_stride = pages_of_request_,
            .scores_stride = stride(),
            .groups = count_,
            .rows = rows_,
            .q_len = requests_.q_len,
            .keys = keys_,
            .columns = keys_};
  }

 private:
  Requests requests_;
  int count_, rows_, keys_, pages_of_request_;
  Aligned<std::uint8_t> q_, pages_;
  Aligned<float> weights_, scores_;
  std::vector<std::int32_t> table_;
};

}  // namespace dsaperf::kernels::sm90::testing
