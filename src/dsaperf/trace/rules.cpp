#include "dsaperf/trace/rules.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/host_ranges.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <map>
#include <system_error>

namespace dsaperf::trace {
namespace {

constexpr std::string_view kRulesFormat = "dsaperf.stages.1";
constexpr Bytes kLargestRuleFile{8 << 20};

}  // namespace

Pattern::Pattern(std::string_view text) {
  if (text.starts_with('^')) {
    from_start_ = true;
    text.remove_prefix(1);
  }
  if (text.ends_with('$')) {
    to_end_ = true;
    text.remove_suffix(1);
  }
  while (true) {
    const auto star = text.find('*');
    pieces_.emplace_back(text.substr(0, star));
    if (star == std::string_view::npos) break;
    text.remove_prefix(star + 1);
  }
}

bool Pattern::matches(std::string_view text) const {
  std::size_t first = 0;
  std::size_t last = pieces_.size();
  if (to_end_) {
    const auto& tail = pieces_.back();
    if (!text.ends_with(tail)) return false;
    if (from_start_ && pieces_.size() == 1) return text == tail;
    text.remove_suffix(tail.size());
    --last;
  }
  if (from_start_ && last > 0) {
    if (!text.starts_with(pieces_[0])) return false;
    text.remove_prefix(pieces_[0].size());
    ++first;
  }
  for (; first < last; ++first) {
    const auto at = text.find(pieces_[first]);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + pieces_[first].size());
  }
  return true;
}

namespace {

Result<std::vector<Pattern>> patterns(const YAML::Node& node) {
  std::vector<Pattern> list;
  if (!node) return list;
  if (!node.IsSequence()) {
    list.emplace_back(node.as<std::string>());
    return list;
  }
  for (const auto& item : node) list.emplace_back(item.as<std::string>());
  if (list.empty()) return fail(Errc::kParse, "an empty list of patterns matches nothing");
  return list;
}

Result<Part> part_named(const std::string& text) {
  if (const auto part = part_from_name(text)) return *part;
  if (const auto stage = model::stage_from_name(text)) return part_of(*stage);
  return fail(Errc::kParse, "stage \"{}\" is not known", text);
}

Result<Rule> rule_of(const YAML::Node& node) {
  static constexpr std::string_view kKeys[] = {"stage", "phase",  "kernel", "op",
                                               "range", "beside", "engine"};
  if (!node.IsMap()) return fail(Errc::kParse, "a rule is a list of keys and values");
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
      return fail(Errc::kParse, "key \"{}\" is not known", key);
    }
  }
  Rule rule;
  if (!node["stage"]) return fail(Errc::kParse, "a rule needs a stage");
  DSAPERF_TRY_ASSIGN(rule.part, part_named(node["stage"].as<std::string>()));
  DSAPERF_TRY_ASSIGN(rule.kernel, patterns(node["kernel"]));
  DSAPERF_TRY_ASSIGN(rule.op, patterns(node["op"]));
  DSAPERF_TRY_ASSIGN(rule.range, patterns(node["range"]));
  if (rule.kernel.empty() && rule.op.empty() && rule.range.empty()) {
    return fail(Errc::kParse, "a rule needs a pattern: kernel, op or range");
  }
  if (const auto phase = node["phase"]) {
    const auto found = phase_from_name(phase.as<std::string>());
    if (!found) return fail(Errc::kParse, "phase \"{}\" is not known", phase.as<std::string>());
    rule.phase = *found;
  }
  if (const auto beside = node["beside"]) {
    DSAPERF_TRY_ASSIGN(rule.beside, part_named(beside.as<std::string>()));
  }
  if (const auto engine = node["engine"]) rule.engine = engine.as<std::string>();
  return rule;
}

}  // namespace

Result<RuleSet> RuleSet::parse(std::string_view yaml) {
  try {
    const YAML::Node document = YAML::Load(std::string(yaml));
    if (!document.IsMap() || !document["format"]) {
      return fail(Errc::kParse, "no \"format: {}\" in this rule file", kRulesFormat);
    }
    const auto format = document["format"].as<std::string>();
    if (format != kRulesFormat) {
      return fail(Errc::kUnsupported, "format \"{}\" is not known here; this program reads {}",
                  format, kRulesFormat);
    }
    if (!document["rules"] || !document["rules"].IsSequence()) {
      return fail(Errc::kParse, "\"rules\" is not a list");
    }
    RuleSet set;
    for (const auto& node : document["rules"]) {
      auto rule = rule_of(node);
      if (!rule) {
        return tl::unexpected(
            std::move(rule).error().with_context(fmt::format("line {}", node.Mark().line + 1)));
      }
      set.rules_.push_back(*std::move(rule));
    }
    return set;
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "line {}: {}", error.mark.line + 1, error.msg);
  }
}

Result<RuleSet> RuleSet::load(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLargestRuleFile));
  return parse(text).map_error(
      [&](Error error) { return std::move(error).with_context(path.native()); });
}

Result<RuleSet> RuleSet::shipped() {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(data / "stages", error)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  if (files.empty()) {
    return fail(Errc::kNotFound, "no rule file in {}", (data / "stages").native());
  }
  std::sort(files.begin(), files.end());
  RuleSet all;
  for (const auto& file : files) {
    DSAPERF_TRY_ASSIGN(auto set, load(file));
    std::move(set.rules_.begin(), set.rules_.end(), std::back_inserter(all.rules_));
  }
  return all;
}

void RuleSet::put_in_front(RuleSet first) {
  std::move(rules_.begin(), rules_.end(), std::back_inserter(first.rules_));
  rules_ = std::move(first.rules_);
}

bool RuleSet::asks_for_range() const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [](const Rule& rule) { return !rule.range.empty(); });
}

const Rule* RuleSet::match(const Launched& launched, const std::vector<bool>* present) const {
  const std::string key = launched.name.key();
  const auto any = [](const std::vector<Pattern>& patterns, std::string_view text) {
    return patterns.empty() ||
           (!text.empty() && std::any_of(patterns.begin(), patterns.end(),
                                         [&](const Pattern& p) { return p.matches(text); }));
  };
  for (const auto& rule : rules_) {
    if (rule.beside &&
        (present == nullptr || !(*present)[static_cast<std::size_t>(*rule.beside)])) {
      continue;
    }
    if (any(rule.kernel, key) && any(rule.op, launched.op) && any(rule.range, launched.range)) {
      return &rule;
    }
  }
  return nullptr;
}

Classified classify(const Timeline& timeline, const RuleSet& rules) {
  Classified result;
  result.names.resize(timeline.names.size());
  std::vector<bool> named(timeline.names.size(), false);
  const auto canonical = [&](std::uint32_t id) -> const KernelName& {
    if (!named[id]) {
      result.names[id] = canonical_name(timeline.names[id]);
      named[id] = true;
    }
    return result.names[id];
  };
  const auto text = [&](std::uint32_t id) {
    return id == kNoName ? std::string_view() : std::string_view(timeline.names[id]);
  };

  // A trace holds few distinct (kernel, operator, range); each is asked once.
  using Key = std::array<std::uint32_t, 3>;
  std::map<Key, Classified::Item> items;
  for (const auto& launch : timeline.launches) {
    items.emplace(Key{launch.name, launch.op, launch.range}, Classified::Item());
  }
  for (const auto& sum : timeline.sums) {
    items.emplace(Key{sum.name, kNoName, kNoName}, Classified::Item());
  }
  std::vector<bool> present(kPartCount, false);
  for (const bool with_beside : {false, true}) {
    // Ranges may be as many as launches ("aten::mm, op_id = 7"), and few rule files ask for one.
    std::map<Key, const Rule*> matched;
    for (auto& [key, item] : items) {
      const RuleSet::Launched launched{canonical(key[0]), text(key[1]), text(key[2])};
      const Key asked{key[0], key[1], rules.asks_for_range() ? key[2] : kNoName};
      const auto [found, is_new] = matched.emplace(asked, nullptr);
      if (is_new) found->second = rules.match(launched, with_beside ? &present : nullptr);
      const Rule* rule = found->second;
      if (rule != nullptr) item = {rule->part, rule->phase, std::nullopt};
      if (!with_beside && rule != nullptr) present[static_cast<std::size_t>(rule->part)] = true;
      if (launched.range.starts_with(kStageRange)) {
        item.marked = model::stage_from_name(launched.range.substr(kStageRange.size()));
        if (item.marked) item.part = part_of(*item.marked);
      }
    }
  }
  result.launches.reserve(timeline.launches.size());
  for (const auto& launch : timeline.launches) {
    result.launches.push_back(items[Key{launch.name, launch.op, launch.range}]);
  }
  for (const auto& sum : timeline.sums) {
    result.sums.push_back(items[Key{sum.name, kNoName, kNoName}]);
  }
  return result;
}

}  // namespace dsaperf::trace
