#pragma once

#include "command.hpp"
#include "dsaperf/predict/layer_query.hpp"

namespace dsaperf::tool {

// The flags that say how long requests are.
inline void add_lengths(Command& command, double& isl, double& osl) {
  command.add_option("--isl", isl, "Tokens of a prompt").whole(1, predict::kLargestSize);
  command.add_option("--osl", osl, "Tokens of an answer").whole(1, predict::kLargestSize);
}

inline Option add_prefix(Command& command, double& prefix) {
  return command.add_option("--prefix", prefix, "Tokens of a prompt that are cached already")
      .whole(0, predict::kLargestSize);
}

}  // namespace dsaperf::tool
