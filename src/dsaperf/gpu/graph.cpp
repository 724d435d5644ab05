#include "dsaperf/gpu/graph.hpp"

#include "dsaperf/gpu/cuda_error.hpp"

#include <memory>
#include <type_traits>

namespace dsaperf::gpu {
namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};

}  // namespace

Result<Graph> Graph::capture(CUstream_st* stream, const std::function<Result<void>()>& work) {
  DSAPERF_CUDA_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  Result<void> enqueued = work();
  cudaGraph_t raw_graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &raw_graph);
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph> graph(raw_graph);
  DSAPERF_TRY(std::move(enqueued));
  DSAPERF_CUDA_TRY(ended);
  cudaGraphExec_t executable = nullptr;
  DSAPERF_CUDA_TRY(cudaGraphInstantiate(&executable, graph.get(), 0));
  return Graph(executable);
}

Graph::~Graph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}

Result<void> Graph::launch(CUstream_st* stream) const {
  DSAPERF_CUDA_TRY(cudaGraphLaunch(graph_, stream));
  return {};
}

}  // namespace dsaperf::gpu
