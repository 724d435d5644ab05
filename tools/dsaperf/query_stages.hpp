#pragma once

#include "command.hpp"

#include <cstdint>
#include <string>

namespace dsaperf::tool {

// `dsaperf query CONFIG --stages`.
struct StagesQuestion {
  std::string config;
  std::string systems_root;
  std::string system;
  std::string phase;  // "context" or "generation"
  int heads = 0;      // 0: all of the model
  std::int64_t batch = 1;
  std::int64_t new_tokens = 1;
  std::int64_t past_tokens = 0;
  std::string kv;  // empty: fp8
  bool json = false;
};
Result<ExitCode> query_stages(const StagesQuestion& question);

}  // namespace dsaperf::tool
