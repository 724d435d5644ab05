#pragma once

#include "dsaperf/core/error.hpp"

#include <functional>
#include <utility>

struct CUgraphExec_st;
struct CUstream_st;

namespace dsaperf::gpu {

// Stream-ordered work recorded once: launched as one, without the host's time for each kernel. What
// the work refers to (pointers, parameters) is fixed; what lies behind the pointers is read anew at
// each launch.
class Graph {
 public:
  // Records what `work` enqueues on the stream, which runs nothing. Fails with kCuda where the work
  // allocates, synchronises or leaves the stream, and with the work's own error.
  static Result<Graph> capture(CUstream_st* stream, const std::function<Result<void>()>& work);

  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~Graph();

  Result<void> launch(CUstream_st* stream) const;

 private:
  explicit Graph(CUgraphExec_st* graph) : graph_(graph) {}

  CUgraphExec_st* graph_ = nullptr;
};

}  // namespace dsaperf::gpu
