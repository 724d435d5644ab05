#pragma once

#include "dsaperf/trace/layer_profile.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::trace {

enum class StageState {
  kSame,         // both run it, by the same kernels
  kOtherKernel,  // both run it, by different kernels
  kMissing,      // only the reference runs it
  kExtra,        // only the mock runs it
};
std::string_view name(StageState state);

struct AlignedKernel {
  KernelName name;
  double mock_calls = 0;  // per layer, as all figures here; 0: not in it
  double reference_calls = 0;
  double mock_ns = 0;
  double reference_ns = 0;
  bool other_arguments = false;  // same function, other template arguments or tile
};

struct AlignedStage {
  Part part = Part::kUnclassified;
  StageState state = StageState::kSame;
  double mock_calls = 0;
  double reference_calls = 0;
  double mock_ns = 0;
  double reference_ns = 0;
  std::optional<double> ratio;  // mock / reference; empty where one has none
  bool within_ratio = true;
  bool within_spread = false;  // the difference is smaller than the traces' own spread
  bool decisive = false;       // counts for the verdict
  std::vector<AlignedKernel> kernels;
};

// One step of the sequence alignment of the two layers; a side is empty where it has no
// counterpart.
struct AlignedCall {
  std::optional<LayerProfile::Call> mock;
  std::optional<LayerProfile::Call> reference;
  bool same_kernel = false;
};

struct Alignment {
  bool names_match = true;
  bool within_ratio = true;
  bool none_missing = true;
  bool none_extra = true;
  std::vector<AlignedStage> stages;   // in order of a layer, then the rest of the model
  std::vector<AlignedCall> sequence;  // empty where one side is a summary
  std::vector<std::string> explanations;

  bool aligned() const { return names_match && within_ratio && none_missing && none_extra; }
};

struct AlignInput {
  const LayerProfile& profile;
  const Classified& classified;
};

// The phase to compare where one recording names prefill or decode alone and the other both;
// kUnknown: everything.
Phase common_phase(const Classified& mock, const Classified& reference);

// Whether a stand-alone layer (`mock`) runs what the reference runs, as fast within `max_ratio`
// both ways, with nothing missing and nothing extra. The stages of an attention layer decide; the
// rest of the model decides only if the mock has it too, and copies, fills and arithmetic only from
// 2 % of the time on. GEMMs, norms and input quantisation of a layer are not compared in time with
// those of a whole model, which has more of them. A recording with itself is always aligned.
Alignment align(const AlignInput& mock, const AlignInput& reference, double max_ratio);

}  // namespace dsaperf::trace
