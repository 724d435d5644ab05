#pragma once

#include "dsaperf/trace/rules.hpp"
#include "dsaperf/trace/steps.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <map>
#include <string>
#include <vector>

namespace dsaperf::trace {

// A kernel's share in one layer of a recording.
struct LayerKernel {
  KernelName name;
  double calls = 0;                 // per layer
  double time_ns = 0;               // per layer
  double stddev_ns = kUnknownTime;  // of a call, where known
};

// What one layer of a recording runs, on average over the layers that can be told.
//
// A timeline's complete steps count, divided by steps and layers. A summary, and a timeline where
// nothing repeats, counts whole and is divided by the calls of its attention kernel: there is one a
// layer. In a summary that holds prefill and decode, kernels that serve both are divided by the
// layers of both, and their median call stands for their time, since an average over two regimes
// means nothing.
struct LayerProfile {
  std::string basis;  // how it was counted, for people
  double layers = 1;
  Phase phase = Phase::kUnknown;
  bool whole_model = false;  // experts, MLP or sampling are in it: more than a layer
  bool graph = false;        // launched by a CUDA graph
  double launch_bound_share = kUnknownTime;
  double unclassified_share = 0;
  std::map<Part, std::vector<LayerKernel>> parts;  // most time first
  std::map<Part, Spread> spread;                   // per layer, where layers can be told apart
  struct Call {
    Part part;
    std::uint32_t name;  // in Classified::names
  };
  std::vector<Call> sequence;  // one layer in order, from its attention on; empty for a summary

  double calls(Part part) const;
  double time_ns(Part part) const;
};

// `phase`: only what belongs to it; kUnknown: everything.
LayerProfile layer_profile(const Timeline& timeline, const Classified& classified, Phase phase);

// The phases that kernels of the recording name.
std::vector<Phase> phases_in(const Classified& classified);

}  // namespace dsaperf::trace
