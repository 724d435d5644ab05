#pragma once

#include "dsaperf/perfdb/systems_tree.hpp"

namespace dsaperf::predict::stages::testing {

// A card of an H200's rates that no tree of tables has.
inline perfdb::SystemFile card() {
  perfdb::SystemFile system;
  system.name = "card";
  system.mem_bw = 4.8e12;
  system.rates = {{"bfloat16", 9.89e14}, {"fp8", 1.978e15}};
  system.sm_version = 90;
  return system;
}

}  // namespace dsaperf::predict::stages::testing
