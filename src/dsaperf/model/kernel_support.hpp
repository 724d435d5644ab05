#pragma once

#include "dsaperf/model/model_spec.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// The architecture that the GPU kernels are compiled for, and the cards that have it.
inline constexpr std::string_view kKernelArchitecture = "sm_90a";
inline constexpr std::string_view kKernelCards = "H100, H200, H20, GH200";

// Whether the kernels of this program run a model's sparse attention, and if not, why.
struct KernelSupport {
  bool runs = false;                 // on a card of kKernelArchitecture
  std::vector<std::string> reasons;  // why not; one sentence each
};

// Of the attention of one rank: `tp` divides the heads.
KernelSupport kernel_support(const ModelSpec& spec, int tp);

// What works without such a card, Blackwell or Ampere or none at all.
const std::vector<std::string>& works_everywhere();

}  // namespace dsaperf::model
