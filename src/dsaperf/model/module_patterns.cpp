#include "dsaperf/model/module_patterns.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace dsaperf::model {
namespace {

std::string_view without_prefix(std::string_view name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : {"model.", "language_model.", "text_model."}) {
      if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
        again = true;
      }
    }
  }
  return name;
}

bool is_glob(std::string_view pattern) {
  return pattern.find_first_of("*?") != pattern.npos;
}

// * is any run of characters, ? is one. Linear in the text for each star.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      // The pattern is used up where a part of the path ends: the rest lies in the named module.
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// The name stands in the path as whole parts.
bool names_part(std::string_view name, std::string_view path) {
  for (auto at = path.find(name); at != path.npos; at = path.find(name, at + 1)) {
    const auto end = at + name.size();
    if ((at == 0 || path[at - 1] == '.') && (end == path.size() || path[end] == '.')) return true;
  }
  return false;
}

bool pattern_matches(std::string_view pattern, std::string_view module) {
  if (!is_glob(pattern)) return names_part(pattern, module);
  if (glob_matches(pattern, module)) return true;
  // "model.layers.*.self_attn" names what lies in it, too: try it on each module above.
  for (auto dot = module.rfind('.'); dot != module.npos && dot > 0;
       dot = module.rfind('.', dot - 1)) {
    if (glob_matches(pattern, module.substr(0, dot))) return true;
  }
  return false;
}

// The layer a name belongs to, or -1: "layers.17.mlp". Not "layers.1*", which is many.
int layer_of(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  const auto at = name.find(kLayers);
  if (at == name.npos) return -1;
  const char* begin = name.data() + at + kLayers.size();
  const char* end = name.data() + name.size();
  int layer = -1;
  const auto [stop, error] = std::from_chars(begin, end, layer);
  if (error != std::errc() || (stop != end && *stop != '.')) return -1;
  return layer;
}

// The digits of "layers.7*" and of nothing else that has digits, stars or question marks.
std::string_view number_start(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return {};
  const auto end = std::min(name.find_first_not_of("0123456789", kLayers.size()), name.size());
  const auto rest = name.substr(end);
  if (rest.empty() || rest.front() != '*' || rest.find_first_of("0123456789?") != rest.npos) {
    return {};
  }
  return name.substr(kLayers.size(), end - kLayers.size());
}

}  // namespace

ModulePatterns::ModulePatterns() = default;
ModulePatterns::ModulePatterns(ModulePatterns&&) noexcept = default;
ModulePatterns& ModulePatterns::operator=(ModulePatterns&&) noexcept = default;
ModulePatterns::~ModulePatterns() = default;

void ModulePatterns::add(std::string_view pattern, std::string_view path,
                         ConfigProblems& problems) {
  if (pattern.starts_with("re:")) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(1 << 20);
    auto expression =
        std::make_unique<RE2>(re2::StringPiece(pattern.data() + 3, pattern.size() - 3), options);
    if (!expression->ok()) {
      problems.warn(fmt::format("{}: the expression \"{:.80}\" cannot be read, it is left out",
                                path, pattern));
      return;
    }
    expressions_.push_back(std::move(expression));
    tells_numbers_apart_ = tells_numbers_apart_ || pattern.find("layers") != pattern.npos;
    return;
  }
  const auto name = without_prefix(pattern);
  if (name.empty()) return;
  const int layer = layer_of(name);
  auto& list = layer < 0 ? everywhere_ : by_layer_[layer];
  list.emplace_back(name);
  if (layer >= 0 || !is_glob(name)) return;
  if (const auto start = number_start(name); !start.empty()) {
    number_starts_.emplace_back(start);
  } else if (name.find_first_of("0123456789?") != name.npos) {
    tells_numbers_apart_ = true;
  }
}

std::optional<std::string> ModulePatterns::signature(int layer) const {
  if (tells_numbers_apart_) return std::nullopt;
  std::string joined;
  const auto number_text = fmt::format("{}", layer);
  for (const auto& start : number_starts_) joined += number_text.starts_with(start) ? '1' : '0';
  const auto own = by_layer_.find(layer);
  if (own == by_layer_.end()) return joined;
  std::vector<std::string_view> ends;
  for (const std::string_view name : own->second) {
    const auto number = name.find("layers.") + std::string_view("layers.").size();
    // What stands before the number tells layers apart as well: "*.layers.3" and "layers.3".
    if (number != std::string_view("layers.").size()) return std::nullopt;
    ends.push_back(name.substr(std::min(name.find('.', number), name.size())));
  }
  std::sort(ends.begin(), ends.end());
  for (const auto end : ends) (joined += end) += '\n';
  return joined;
}

bool ModulePatterns::matches(std::string_view module, int layer) const {
  for (const auto& pattern : everywhere_) {
    if (pattern_matches(pattern, module)) return true;
  }
  if (const auto own = by_layer_.find(layer); own != by_layer_.end()) {
    for (const auto& pattern : own->second) {
      if (pattern_matches(pattern, module)) return true;
    }
  }
  if (expressions_.empty()) return false;
  const auto full = fmt::format("model.{}", module);
  for (const auto& expression : expressions_) {
    if (expression->Match(full, 0, full.size(), RE2::ANCHOR_START, nullptr, 0)) return true;
  }
  return false;
}

}  // namespace dsaperf::model
