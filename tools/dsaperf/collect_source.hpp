#pragma once

#include "command.hpp"
#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/model/layer_plan.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {

// What collect and its workers both start from: what is measured, and by what.
struct SourceFlags {
  std::string config;
  std::string system = "h200_sxm";
  std::string timing = "gpu";
  std::int64_t cache_pages = 0;  // of the plan's largest case
  int fake_delay_ms = 0;
  std::string fake_dies_on;
  std::string fake_fails_on;
};
void add_source_flags(Command& command, SourceFlags& flags);

struct Subject {
  model::ModelSpec spec;
  model::LayerPlan layer;
  cost::SystemSpec system;
};
Result<Subject> load_subject(const SourceFlags& flags);

// One worker for each value of CUDA_VISIBLE_DEVICES in `devices`.
Result<std::vector<std::unique_ptr<collect::TimingSource>>> start_workers(
    const SourceFlags& flags, const std::vector<std::string>& devices);

// The hidden command that a worker is: measures what it is asked for over stdin and stdout.
void add_collect_worker(Command& app);

}  // namespace dsaperf::tool
