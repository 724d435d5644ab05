#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/trace/kernel_name.hpp"
#include "dsaperf/trace/part.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::trace {

// A pattern of rule files: plain text that must occur, "*" for anything between two pieces, "^" at
// the front and "$" at the end to tie it there. Letter case counts. Matching takes time linear in
// the text, whatever the text is.
class Pattern {
 public:
  explicit Pattern(std::string_view text);
  bool matches(std::string_view text) const;

 private:
  std::vector<std::string> pieces_;
  bool from_start_ = false;
  bool to_end_ = false;
};

struct Rule {
  Part part = Part::kUnclassified;
  Phase phase = Phase::kUnknown;
  std::vector<Pattern> kernel;  // any of them; none: every kernel
  std::vector<Pattern> op;      // any of them, of the framework operator that launched it
  std::vector<Pattern> range;   // any of them, of the host range around the launch
  std::optional<Part> beside;   // only in a trace where a rule without `beside` finds this part
  std::string engine;           // whose kernel it is; for people
};

// What kernels are for, told from their names. The first rule that matches wins, so the exact ones
// come first and "topk" in the name of a router never makes it the indexer's.
//
//   format: dsaperf.stages.1
//   rules:
//     - {stage: indexer_scores, phase: decode, engine: DeepGEMM, kernel: [paged_mqa_logits]}
//     - {stage: topk, op: ["^aten::topk *, 2048"]}
//     - {stage: moe, kernel: [act_and_mul], beside: moe}
//
// `stage` is the name of a Part, or of a model::Stage, which counts for its part.
class RuleSet {
 public:
  // Fails with kParse naming line and key for anything unknown: a misspelt rule would count as
  // none.
  static Result<RuleSet> parse(std::string_view yaml);
  static Result<RuleSet> load(const std::filesystem::path& path);
  // All files of the folder `stages` of the shipped data, in order of their names.
  static Result<RuleSet> shipped();

  // Those of `first` are asked before these.
  void put_in_front(RuleSet first);
  std::size_t size() const { return rules_.size(); }
  // Whether some rule looks at the range around a launch.
  bool asks_for_range() const;

  struct Launched {
    const KernelName& name;
    std::string_view op;
    std::string_view range;
  };
  // Null where no rule matches. `present`: parts found so far, for rules with `beside`; null to
  // skip those rules.
  const Rule* match(const Launched& launched, const std::vector<bool>* present) const;

 private:
  std::vector<Rule> rules_;
};

// The parts and phases of a timeline's launches, or of its sums.
struct Classified {
  struct Item {
    Part part = Part::kUnclassified;
    Phase phase = Phase::kUnknown;
    std::optional<model::Stage> marked;  // by a range named stage/NAME, as our own profiler does
  };
  std::vector<KernelName> names;  // by name id; only those of kernels are filled
  std::vector<Item> launches;     // of each launch
  std::vector<Item> sums;         // of each sum
};
Classified classify(const Timeline& timeline, const RuleSet& rules);

}  // namespace dsaperf::trace
