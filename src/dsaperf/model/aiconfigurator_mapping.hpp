#pragma once

#include "dsaperf/model/model_spec.hpp"

#include <string>
#include <vector>

namespace dsaperf::model {

// How AIConfigurator 0.12 models this model, or what it would take.
struct AiconfiguratorMapping {
  std::string architecture;  // that it would look up; empty: config.json names none
  std::string family;        // its model class ("DEEPSEEKV32"); empty: the architecture is unknown
  std::vector<std::string> context_operations;     // of the attention, in prefill
  std::vector<std::string> generation_operations;  // and in decode
  bool exact = false;                              // known, with sizes as its tables assume
  std::vector<std::string> needs;  // what a new or differing architecture takes, one step each
  std::vector<std::string> notes;  // known deviations that change its numbers
};

AiconfiguratorMapping aiconfigurator_mapping(const ModelSpec& spec);

}  // namespace dsaperf::model
