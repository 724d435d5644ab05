#include "dsaperf/gpu/timing.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/event.hpp"
#include "dsaperf/gpu/l2_flush.hpp"
#include "dsaperf/gpu/stream.hpp"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

namespace dsaperf::gpu {
namespace {

Result<TimingResult> summary(std::vector<double> micros) {
  if (micros.empty()) return fail(Errc::kInvalidArgument, "a timing needs at least one sample");
  std::ranges::sort(micros);
  return TimingResult{.median = {micros[micros.size() / 2]},
                      .lowest = {micros.front()},
                      .highest = {micros.back()},
                      .samples = static_cast<int>(micros.size())};
}

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;
using GraphExec = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;

Result<GraphExec> capture(const StreamWork& work, int calls, CUstream_st* stream) {
  DSAPERF_CUDA_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  Result<void> enqueued;
  for (int i = 0; i < calls && enqueued; ++i) enqueued = work(stream);
  cudaGraph_t raw_graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &raw_graph);
  const Graph graph(raw_graph);
  DSAPERF_TRY(std::move(enqueued));
  DSAPERF_CUDA_TRY(ended);
  cudaGraphExec_t executable = nullptr;
  DSAPERF_CUDA_TRY(cudaGraphInstantiate(&executable, graph.get(), 0));
  return GraphExec(executable);
}

}  // namespace

Result<TimingResult> time_cold(const StreamWork& work, const TimingOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto stream, Stream::create());
  DSAPERF_TRY_ASSIGN(const auto flush, L2Flush::create());
  DSAPERF_TRY_ASSIGN(const auto start, Event::create());
  DSAPERF_TRY_ASSIGN(const auto stop, Event::create());
  for (int i = 0; i < options.warmup; ++i) DSAPERF_TRY(work(stream.get()));
  std::vector<double> micros;
  for (int i = 0; i < options.cold_samples; ++i) {
    DSAPERF_TRY(flush.run(stream.get()));
    DSAPERF_TRY(start.record(stream.get()));
    DSAPERF_TRY(work(stream.get()));
    DSAPERF_TRY(stop.record(stream.get()));
    DSAPERF_TRY(stream.synchronize());
    DSAPERF_TRY_ASSIGN(const auto time, elapsed(start, stop));
    micros.push_back(time.value);
  }
  return summary(std::move(micros));
}

Result<TimingResult> time_warm(const StreamWork& work, const TimingOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto stream, Stream::create());
  DSAPERF_TRY_ASSIGN(const auto start, Event::create());
  DSAPERF_TRY_ASSIGN(const auto stop, Event::create());
  for (int i = 0; i < options.warmup; ++i) DSAPERF_TRY(work(stream.get()));
  DSAPERF_TRY(stream.synchronize());
  DSAPERF_TRY_ASSIGN(const auto graph, capture(work, options.calls_per_graph, stream.get()));
  std::vector<double> micros;
  for (int i = 0; i < options.warm_samples; ++i) {
    DSAPERF_TRY(start.record(stream.get()));
    DSAPERF_CUDA_TRY(cudaGraphLaunch(graph.get(), stream.get()));
    DSAPERF_TRY(stop.record(stream.get()));
    DSAPERF_TRY(stream.synchronize());
    DSAPERF_TRY_ASSIGN(const auto time, elapsed(start, stop));
    micros.push_back(time.value / options.calls_per_graph);
  }
  return summary(std::move(micros));
}

}  // namespace dsaperf::gpu
