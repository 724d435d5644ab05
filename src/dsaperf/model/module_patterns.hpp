#pragma once

#include "dsaperf/model/config_fields.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace re2 {
class RE2;
}

namespace dsaperf::model {

// A list of module names as quantisation configs hold them (modules_to_not_convert, ignore,
// exclude_modules, targets). A name stands for itself and what lies in it: "lm_head", "gate",
// "model.layers.3.self_attn" match those whole parts of a module's path and never part of a word,
// so "model.layers.3.self_attn.q_a_layernorm" says nothing about q_a_proj. Names may hold * and ?,
// and "re:..." is a regular expression anchored at its start. Prefixes that only say where the
// language model sits ("model.", "language_model.") do not count.
//
// Lists name each layer apart, so they are kept by layer: a match looks at a few entries.
class ModulePatterns {
 public:
  ModulePatterns();
  ModulePatterns(ModulePatterns&&) noexcept;
  ModulePatterns& operator=(ModulePatterns&&) noexcept;
  ~ModulePatterns();

  // Warns of a regular expression that cannot be read, and leaves it out.
  void add(std::string_view pattern, std::string_view path, ConfigProblems& problems);

  // `module` is a path without prefix ("layers.3.self_attn.q_a_proj"), `layer` its number or -1.
  bool matches(std::string_view module, int layer) const;

  // Layers with the same signature get the same answers for every module: what their own entries
  // say, less their number. Nothing where entries for all layers could tell numbers apart.
  std::optional<std::string> signature(int layer) const;

  bool empty() const { return everywhere_.empty() && by_layer_.empty() && expressions_.empty(); }

 private:
  std::vector<std::string> everywhere_;
  std::map<int, std::vector<std::string>> by_layer_;
  std::vector<std::unique_ptr<re2::RE2>> expressions_;
  std::vector<std::string> number_starts_;  // of "layers.7*": 7, 70 to 79, ...
  bool tells_numbers_apart_ = false;
};

}  // namespace dsaperf::model
