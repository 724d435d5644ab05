#include "dsaperf/trace/align.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace dsaperf::trace {
namespace {

constexpr double kMainShare = 0.1;   // of its stage's time, for a kernel to be asked for by name
constexpr double kEveryLayer = 0.9;  // calls a layer from which a kernel is asked for at any time
constexpr double kDecisiveShare = 0.02;  // of the layer's time, for copies and the like to count
constexpr double kLaunchBound = 0.5;
constexpr std::size_t kLongestSequence = 1500;  // its square is worked through

bool is_incidental(Part part) {
  return part == Part::kElementwise || part == Part::kCopy || part == Part::kFill ||
         part == Part::kOther;
}

// Parts of which a whole model has more than its attention layers.
bool is_shared_with_rest(Part part) {
  return part == Part::kGemm || part == Part::kNorm || part == Part::kActivationQuantise;
}

double total_ns(const LayerProfile& profile) {
  double sum = 0;
  for (const auto& [part, kernels] : profile.parts) sum += profile.time_ns(part);
  return sum;
}

bool has_layer_part(const LayerProfile& profile) {
  return std::any_of(profile.parts.begin(), profile.parts.end(),
                     [](const auto& entry) { return in_attention_layer(entry.first); });
}

std::vector<AlignedKernel> paired(const LayerProfile& mock, const LayerProfile& reference,
                                  Part part) {
  std::vector<AlignedKernel> kernels;
  if (const auto found = mock.parts.find(part); found != mock.parts.end()) {
    for (const auto& kernel : found->second) {
      kernels.push_back(
          {.name = kernel.name, .mock_calls = kernel.calls, .mock_ns = kernel.time_ns});
    }
  }
  if (const auto found = reference.parts.find(part); found != reference.parts.end()) {
    for (const auto& kernel : found->second) {
      auto twin = std::find_if(kernels.begin(), kernels.end(), [&](const AlignedKernel& other) {
        return other.reference_calls == 0 && same_function(other.name, kernel.name);
      });
      if (twin == kernels.end()) {
        kernels.push_back({.name = kernel.name});
        twin = kernels.end() - 1;
      } else {
        twin->other_arguments = twin->name.arguments != kernel.name.arguments;
      }
      twin->reference_calls = kernel.calls;
      twin->reference_ns = kernel.time_ns;
    }
  }
  return kernels;
}

StageState state_of(const AlignedStage& stage) {
  if (stage.mock_calls == 0) return StageState::kMissing;
  if (stage.reference_calls == 0) return StageState::kExtra;
  // A kernel that runs in each layer belongs to the layer, however short it is; GEMMs and norms may
  // be the rest of the model's.
  const bool of_layer = in_attention_layer(stage.part) && !is_shared_with_rest(stage.part);
  const auto is_main = [&](double calls, double ns, double stage_ns) {
    return calls > 0 && (ns >= kMainShare * stage_ns || (of_layer && calls >= kEveryLayer));
  };
  for (const auto& kernel : stage.kernels) {
    const bool main = is_main(kernel.mock_calls, kernel.mock_ns, stage.mock_ns);
    const bool main_reference =
        is_main(kernel.reference_calls, kernel.reference_ns, stage.reference_ns);
    if ((main && kernel.reference_calls == 0) || (main_reference && kernel.mock_calls == 0)) {
      return StageState::kOtherKernel;
    }
  }
  return StageState::kSame;
}

// Half the distance from p10 to p90 of a layer's time in the part; from the calls' deviations where
// layers cannot be told apart; 0 where nothing is known.
double spread_of(const LayerProfile& profile, Part part) {
  if (const auto found = profile.spread.find(part);
      found != profile.spread.end() && found->second.count > 1) {
    return (found->second.p90 - found->second.p10) / 2;
  }
  double variance = 0;
  if (const auto found = profile.parts.find(part); found != profile.parts.end()) {
    for (const auto& kernel : found->second) {
      if (!std::isnan(kernel.stddev_ns)) {
        variance += kernel.calls * kernel.stddev_ns * kernel.stddev_ns;
      }
    }
  }
  return std::sqrt(variance);
}

bool decides(const AlignedStage& stage, const AlignInput& mock, const AlignInput& reference) {
  const Part part = stage.part;
  if (part == Part::kUnclassified) {
    // Where nothing is known of either, names are all there is.
    return !has_layer_part(mock.profile) && !has_layer_part(reference.profile);
  }
  if (in_attention_layer(part)) return true;
  const bool in_mock = stage.mock_calls > 0;
  if (!mock.profile.whole_model && !in_mock) return false;
  if (!is_incidental(part)) return true;
  return stage.mock_ns >= kDecisiveShare * total_ns(mock.profile) ||
         (mock.profile.whole_model &&
          stage.reference_ns >= kDecisiveShare * total_ns(reference.profile));
}

AlignedStage aligned_stage(const AlignInput& mock, const AlignInput& reference, Part part,
                           double max_ratio) {
  AlignedStage stage;
  stage.part = part;
  stage.mock_calls = mock.profile.calls(part);
  stage.reference_calls = reference.profile.calls(part);
  stage.mock_ns = mock.profile.time_ns(part);
  stage.reference_ns = reference.profile.time_ns(part);
  stage.kernels = paired(mock.profile, reference.profile, part);
  stage.state = state_of(stage);
  stage.decisive = decides(stage, mock, reference);
  if (stage.mock_calls > 0 && stage.reference_calls > 0) {
    if (stage.reference_ns > 0) stage.ratio = stage.mock_ns / stage.reference_ns;
    const double difference = std::abs(stage.mock_ns - stage.reference_ns);
    const double spread =
        std::min(spread_of(mock.profile, part), spread_of(reference.profile, part));
    stage.within_spread = difference <= spread;
    const bool comparable =
        mock.profile.whole_model == reference.profile.whole_model || !is_shared_with_rest(part);
    if (stage.ratio && comparable && !stage.within_spread) {
      stage.within_ratio = *stage.ratio <= max_ratio && *stage.ratio >= 1 / max_ratio;
    }
  }
  return stage;
}

// Needleman-Wunsch: the same kernel is worth most, another kernel of the same stage half of it, a
// call without counterpart costs.
std::vector<AlignedCall> aligned_sequence(const AlignInput& mock, const AlignInput& reference) {
  const auto& a = mock.profile.sequence;
  const auto& b = reference.profile.sequence;
  if (a.empty() || b.empty() || a.size() > kLongestSequence || b.size() > kLongestSequence) {
    return {};
  }
  const auto name_a = [&](std::size_t i) -> const KernelName& {
    return mock.classified.names[a[i].name];
  };
  const auto name_b = [&](std::size_t j) -> const KernelName& {
    return reference.classified.names[b[j].name];
  };
  const auto same = [&](std::size_t i, std::size_t j) {
    return a[i].part == b[j].part && same_function(name_a(i), name_b(j));
  };
  constexpr int kSame = 4;
  constexpr int kSamePart = 2;
  constexpr int kOther = -3;
  constexpr int kGap = -1;
  const std::size_t width = b.size() + 1;
  std::vector<int> score(width * (a.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) score[i * width] = static_cast<int>(i) * kGap;
  for (std::size_t j = 0; j <= b.size(); ++j) score[j] = static_cast<int>(j) * kGap;
  const auto worth = [&](std::size_t i, std::size_t j) {
    if (a[i].part != b[j].part) return kOther;
    return same(i, j) ? kSame : kSamePart;
  };
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      score[i * width + j] =
          std::max({score[(i - 1) * width + j - 1] + worth(i - 1, j - 1),
                    score[(i - 1) * width + j] + kGap, score[i * width + j - 1] + kGap});
    }
  }
  std::vector<AlignedCall> calls;
  std::size_t i = a.size();
  std::size_t j = b.size();
  while (i > 0 || j > 0) {
    AlignedCall call;
    const int here = score[i * width + j];
    if (i > 0 && j > 0 && here == score[(i - 1) * width + j - 1] + worth(i - 1, j - 1)) {
      call.mock = a[--i];
      call.reference = b[--j];
      call.same_kernel = same(i, j);
    } else if (i > 0 && here == score[(i - 1) * width + j] + kGap) {
      call.mock = a[--i];
    } else {
      call.reference = b[--j];
    }
    calls.push_back(call);
  }
  std::reverse(calls.begin(), calls.end());
  return calls;
}

const LayerKernel* kernel_named(const LayerProfile& profile, std::string_view piece) {
  for (const auto& [part, kernels] : profile.parts) {
    for (const auto& kernel : kernels) {
      if (kernel.name.key().find(piece) != std::string::npos) return &kernel;
    }
  }
  return nullptr;
}

// Differences with a known reason.
class Explainer {
 public:
  Explainer(const AlignInput& mock, const AlignInput& reference, const Alignment& alignment)
      : mock_(mock.profile), reference_(reference.profile), alignment_(alignment) {}

  std::vector<std::string> explain() {
    launching();
    padding();
    fused_all_reduce();
    another_top_k();
    dense_attention();
    split_kv();
    tiles();
    return std::move(lines_);
  }

 private:
  template <typename... Args>
  void say(fmt::format_string<Args...> text, Args&&... args) {
    lines_.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  const AlignedStage* stage(Part part) const {
    const auto found = std::find_if(alignment_.stages.begin(), alignment_.stages.end(),
                                    [&](const AlignedStage& s) { return s.part == part; });
    return found == alignment_.stages.end() ? nullptr : &*found;
  }

  void launching() {
    if (mock_.graph != reference_.graph) {
      say("the {} replays CUDA graphs and the {} launches each kernel by itself: times of kernels "
          "compare, times of steps do not",
          mock_.graph ? "mock" : "reference", mock_.graph ? "reference" : "mock");
    }
    for (const auto& [profile, who] : {std::pair(&mock_, "mock"), {&reference_, "reference"}}) {
      if (profile->launch_bound_share > kLaunchBound) {
        say("the {} waits for launches {:.0f} % of the time (eager): its GPU clocks may be lower, "
            "and caches colder, than in a busy server",
            who, 100 * profile->launch_bound_share);
      }
    }
  }

  // A fill of bfloat16 as often as the attention kernel makes room for heads that are not there.
  void padding() {
    const auto fills = [](const LayerProfile& profile) {
      const auto* fill = kernel_named(profile, "FillFunctor<c10::BFloat16>");
      return fill != nullptr && std::abs(fill->calls - 1) < 0.02 ? fill : nullptr;
    };
    const auto* in_mock = fills(mock_);
    const auto* in_reference = fills(reference_);
    if ((in_mock == nullptr) == (in_reference == nullptr)) return;
    const bool mock = in_mock != nullptr;
    say("head padding: the {} fills a bfloat16 tensor once a layer ({:.1f} us), as FlashMLA's "
        "callers "
        "do to pad a rank's heads to 64; the {} does not",
        mock ? "mock" : "reference", (mock ? in_mock : in_reference)->time_ns / 1e3,
        mock ? "reference" : "mock");
  }

  void fused_all_reduce() {
    for (const auto& [profile, other, who] :
         {std::tuple(&mock_, &reference_, "mock"), {&reference_, &mock_, "reference"}}) {
      const auto* fused = kernel_named(*profile, "allreduce_fusion");
      if (fused == nullptr || kernel_named(*other, "allreduce_fusion") != nullptr) continue;
      say("the {} fuses the all-reduce with the residual add and RMSNorm ({:.2f} calls a layer): "
          "those norms are no kernels of their own there",
          who, fused->calls);
    }
  }

  void another_top_k() {
    const auto* topk = stage(Part::kTopk);
    if (topk == nullptr || topk->state != StageState::kOtherKernel) return;
    std::string mock;
    std::string reference;
    for (const auto& kernel : topk->kernels) {
      auto& list = kernel.mock_calls > 0 ? mock : reference;
      list += (list.empty() ? "" : ", ") + display_name(kernel.name);
    }
    say("another top-k: {} in the mock, {} in the reference; the selection is a set, so both may "
        "be "
        "right",
        mock.empty() ? "-" : mock, reference.empty() ? "-" : reference);
  }

  void dense_attention() {
    for (const auto& [profile, other, who] :
         {std::tuple(&mock_, &reference_, "mock"), {&reference_, &mock_, "reference"}}) {
      if (profile->parts.contains(Part::kAttention) ||
          !profile->parts.contains(Part::kAttentionDense) ||
          !other->parts.contains(Part::kAttention)) {
        continue;
      }
      say("the {} computes attention over everything visible{}, the other over the selection", who,
          profile->parts.contains(Part::kTopk) ? " and masks what was not selected" : "");
    }
  }

  void split_kv() {
    const auto* combine = stage(Part::kAttentionCombine);
    if (combine == nullptr || combine->state == StageState::kSame ||
        combine->state == StageState::kOtherKernel) {
      return;
    }
    say("only the {} splits a request's KV over several thread blocks and combines the parts",
        combine->state == StageState::kMissing ? "reference" : "mock");
  }

  void tiles() {
    std::size_t count = 0;
    for (const auto& s : alignment_.stages) {
      for (const auto& kernel : s.kernels) count += kernel.other_arguments;
    }
    if (count > 0) {
      say("{} kernel{} the same function with other template arguments or another tile, as other "
          "shapes bring about",
          count, count == 1 ? " is" : "s are");
    }
  }

  const LayerProfile& mock_;
  const LayerProfile& reference_;
  const Alignment& alignment_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string_view name(StageState state) {
  switch (state) {
    case StageState::kSame:
      return "same";
    case StageState::kOtherKernel:
      return "other_kernel";
    case StageState::kMissing:
      return "missing";
    case StageState::kExtra:
      return "extra";
  }
  return "unknown";
}

Phase common_phase(const Classified& mock, const Classified& reference) {
  const auto of_mock = phases_in(mock);
  const auto of_reference = phases_in(reference);
  const auto has = [](const std::vector<Phase>& phases, Phase phase) {
    return std::find(phases.begin(), phases.end(), phase) != phases.end();
  };
  if (of_mock.size() == 1 && of_reference.size() == 2) return of_mock[0];
  if (of_reference.size() == 1 && of_mock.size() == 2) return of_reference[0];
  if (of_mock.size() == 1 && has(of_reference, of_mock[0])) return of_mock[0];
  return Phase::kUnknown;
}

Alignment align(const AlignInput& mock, const AlignInput& reference, double max_ratio) {
  Alignment alignment;
  for (const Part part : all_parts()) {
    if (!mock.profile.parts.contains(part) && !reference.profile.parts.contains(part)) continue;
    auto stage = aligned_stage(mock, reference, part, max_ratio);
    if (stage.mock_calls == 0 && stage.reference_calls == 0) continue;
    alignment.stages.push_back(std::move(stage));
    const auto& decided = alignment.stages.back();
    if (!decided.decisive) continue;
    alignment.names_match &= decided.state != StageState::kOtherKernel;
    alignment.none_missing &= decided.state != StageState::kMissing;
    alignment.none_extra &= decided.state != StageState::kExtra;
    alignment.within_ratio &= decided.within_ratio;
  }
  alignment.sequence = aligned_sequence(mock, reference);
  alignment.explanations = Explainer(mock, reference, alignment).explain();
  return alignment;
}

}  // namespace dsaperf::trace
