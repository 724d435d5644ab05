#pragma once

#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/core/error.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::collect {

// A measuring process of its own: what a kernel breaks (a CUDA context, the process) ends there.
// The collector keeps its journal and starts the next one.
//
// One JSON line each way over the child's stdin and stdout. The child opens with its SourceInfo;
// then
//   {"id": CASE}  ->  {"measurement": {...}}, {"error": "..."} or {"error": "...", "restart": true}
// (the child's context is beyond use: it ends, and another is started for the next case).
class WorkerSource : public TimingSource {
 public:
  struct Options {
    std::vector<std::string> command;      // program and arguments
    std::vector<std::string> environment;  // added, "NAME=value" (CUDA_VISIBLE_DEVICES=2)
    std::chrono::seconds timeout{300};     // of one case; then the child is killed
  };

  // Starts the child and waits for its opening line.
  static Result<std::unique_ptr<WorkerSource>> start(Options options);
  ~WorkerSource() override;

  const SourceInfo& info() const override { return info_; }
  Result<Measurement> measure(const Case& what) override;

 private:
  explicit WorkerSource(Options options) : options_(std::move(options)) {}

  Result<void> spawn();
  Result<void> start_child();
  void stop();
  Result<std::string> read_line();

  Options options_;
  SourceInfo info_;
  int child_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
  std::string unread_;
};

// The child's side: answers until its input ends. Returns the error that made it end.
Result<void> serve_worker(TimingSource& source, int input, int output);

}  // namespace dsaperf::collect
