// Which versions of a backend may be asked for on a system: query_versions.yaml, and what follows
// from the folders.
#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/systems_tree_known.hpp"
#include "dsaperf/perfdb/version.hpp"
#include "dsaperf/perfdb/yaml_file.hpp"

#include <algorithm>

namespace dsaperf::perfdb {

Result<std::optional<std::string>> SystemsTree::newest_above(
    std::string_view backend, const std::string& current,
    const std::vector<std::string>& left_out) const {
  std::optional<std::string> newest;
  for (const auto& name : systems()) {
    if (std::find(left_out.begin(), left_out.end(), name) != left_out.end()) continue;
    DSAPERF_TRY_ASSIGN(const auto file, system(name));
    for (const auto& folder : version_folders(file.data, backend)) {
      if (!version_less(newest.value_or(current), folder.version)) continue;
      if (known_->holds_tables(folder)) newest = folder.version;
    }
  }
  return newest;
}

Result<std::optional<SystemsTree::AuthoredSlots>> SystemsTree::authored_slots(
    std::string_view system_name, std::string_view backend) const {
  const auto key = std::pair(std::string(system_name), std::string(backend));
  {
    const std::lock_guard lock(known_->mutex);
    const auto found = known_->slots.find(key);
    if (found != known_->slots.end()) return found->second;
  }
  const auto path = root_ / "query_versions.yaml";
  if (!path_exists(path)) return std::nullopt;
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  if (version_folders(file.data, backend).empty()) return std::nullopt;
  AuthoredSlots found;
  const std::string system_key(system_name);
  const std::string backend_key(backend);
  DSAPERF_TRY(with_yaml_file(path, [&](const YAML::Node& document) {
    YAML::Node chosen = document["defaults"][backend_key];
    for (const auto& entry : document["overrides"]) {
      if (!entry.second[backend_key]) continue;
      found.override_systems.push_back(entry.first.as<std::string>());
      if (found.override_systems.back() != system_key) continue;
      found.is_override = true;
      chosen.reset(entry.second[backend_key]);
    }
    if (!chosen) return;
    found.slots.current = chosen["current"].as<std::string>("");
    if (chosen["previous"] && !chosen["previous"].IsNull()) {
      found.slots.previous = chosen["previous"].as<std::string>();
    }
  }));
  const std::lock_guard lock(known_->mutex);
  auto& known = known_->slots[key];
  if (!found.slots.current.empty()) known = std::move(found);
  return known;
}

Result<std::optional<VersionSlots>> SystemsTree::slots(std::string_view system_name,
                                                       std::string_view backend) const {
  DSAPERF_TRY_ASSIGN(auto authored, authored_slots(system_name, backend));
  if (!authored) return std::nullopt;
  if (!authored->is_override) {
    DSAPERF_TRY_ASSIGN(authored->slots.next,
                       newest_above(backend, authored->slots.current, authored->override_systems));
  }
  return std::move(authored->slots);
}

Result<std::string> SystemsTree::resolve_version(std::string_view system_name,
                                                 std::string_view backend,
                                                 std::string_view asked) const {
  const bool is_alias = asked == "current" || asked == "previous" || asked == "next";
  // `next` is derived from the folders of all systems: only where the answer may depend on it.
  DSAPERF_TRY_ASSIGN(const auto authored, authored_slots(system_name, backend));
  if (authored && (asked.empty() || asked == "current" || asked == authored->slots.current)) {
    return authored->slots.current;
  }
  DSAPERF_TRY_ASSIGN(const auto slots_of_pair, slots(system_name, backend));
  if (!slots_of_pair) {
    DSAPERF_TRY_ASSIGN(const auto have, versions(system_name, backend));
    if (have.empty()) {
      return fail(Errc::kNotFound, "{} has no tables of backend '{}'", system_name, backend);
    }
    if (asked.empty() || asked == "current") return have.back();
    if (is_alias || (shipped_ && asked != kOwnVersion)) {
      return fail(Errc::kNotFound, "{} on {}: {} which version is '{}'", backend, system_name,
                  shipped_ ? "nothing says" : "no query_versions.yaml says", asked);
    }
    return std::string(asked);
  }
  const auto& slots = *slots_of_pair;
  const auto names = [&](std::string_view slot, const std::optional<std::string>& version) {
    return version && (asked == slot || asked == *version);
  };
  if (names("previous", slots.previous)) return *slots.previous;
  if (names("next", slots.next)) return *slots.next;
  return fail(Errc::kNotFound, "{} on {}: version '{}' is not offered (current {}{}{})", backend,
              system_name, asked, slots.current,
              slots.previous ? ", previous " + *slots.previous : "",
              slots.next ? ", next " + *slots.next : "");
}

}  // namespace dsaperf::perfdb
