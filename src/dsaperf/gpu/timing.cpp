#include "dsaperf/gpu/timing.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/event.hpp"
#include "dsaperf/gpu/graph.hpp"
#include "dsaperf/gpu/l2_flush.hpp"
#include "dsaperf/gpu/stream.hpp"

#include <algorithm>
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
  const auto calls = [&]() -> Result<void> {
    for (int i = 0; i < options.calls_per_graph; ++i) DSAPERF_TRY(work(stream.get()));
    return {};
  };
  DSAPERF_TRY_ASSIGN(const auto graph, Graph::capture(stream.get(), calls));
  DSAPERF_TRY(graph.launch(stream.get()));  // the first launch also brings it to the device
  DSAPERF_TRY(stream.synchronize());
  std::vector<double> micros;
  for (int i = 0; i < options.warm_samples; ++i) {
    DSAPERF_TRY(start.record(stream.get()));
    DSAPERF_TRY(graph.launch(stream.get()));
    DSAPERF_TRY(stop.record(stream.get()));
    DSAPERF_TRY(stream.synchronize());
    DSAPERF_TRY_ASSIGN(const auto time, elapsed(start, stop));
    micros.push_back(time.value / options.calls_per_graph);
  }
  return summary(std::move(micros));
}

}  // namespace dsaperf::gpu
