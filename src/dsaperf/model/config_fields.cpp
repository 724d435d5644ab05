#include "dsaperf/model/config_fields.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::model {

using nlohmann::json;

void ConfigProblems::fail_at(std::string_view path, std::string message) {
  if (!error) error = Error(Errc::kParse, fmt::format("{}: {}", path, message));
}

void ConfigProblems::warn(std::string message) {
  // A malformed list could produce one a layer; the first ones tell.
  constexpr std::size_t kMaxWarnings = 50;
  if (warnings.size() < kMaxWarnings) warnings.push_back(std::move(message));
}

std::string excerpt(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    std::size_t shown = std::min<std::size_t>(text.size(), 40);
    const auto continues_character = [&] {
      return shown < text.size() && (static_cast<unsigned char>(text[shown]) & 0xc0) == 0x80;
    };
    while (shown > 0 && continues_character()) --shown;
    return fmt::format("\"{}{}\"", text.substr(0, shown), shown < text.size() ? "..." : "");
  }
  return value.dump();
}

ConfigFields::ConfigFields(const json& object, std::string path, ConfigProblems& problems,
                           const ConfigFields* outer)
    : object_(&object), path_(std::move(path)), problems_(&problems), outer_(outer) {
}

const json* ConfigFields::find(std::string_view name) const {
  const auto found = object_->find(name);
  if (found != object_->end() && !found->is_null()) return &*found;
  return outer_ != nullptr ? outer_->find(name) : nullptr;
}

bool ConfigFields::mentions(std::string_view name) const {
  return object_->contains(name) || (outer_ != nullptr && outer_->mentions(name));
}

std::string ConfigFields::path_of(std::string_view name) const {
  const auto own = object_->find(name);
  if (outer_ != nullptr && (own == object_->end() || own->is_null()) && outer_->has(name)) {
    return outer_->path_of(name);
  }
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

ConfigFields::Found ConfigFields::first_of(Names names) const {
  for (const auto name : names) {
    if (const json* value = find(name)) return {value, path_of(name)};
  }
  return {};
}

std::optional<std::int64_t> ConfigFields::whole(const Found& found, std::int64_t min,
                                                std::int64_t max) const {
  if (found.value == nullptr) return std::nullopt;
  const json& value = *found.value;
  // Some exporters write 128.0.
  const bool is_whole =
      value.is_number_integer() ||
      (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
  if (!is_whole) {
    problems_->fail_at(found.path, fmt::format("{} is not a whole number", excerpt(value)));
    return std::nullopt;
  }
  const auto as_double = value.get<double>();
  if (as_double < static_cast<double>(min) || as_double > static_cast<double>(max)) {
    problems_->fail_at(found.path, fmt::format("{} is outside {} to {}", excerpt(value), min, max));
    return std::nullopt;
  }
  return value.is_number_float() ? static_cast<std::int64_t>(as_double) : value.get<std::int64_t>();
}

std::optional<int> ConfigFields::integer(Names names, int min, int max) const {
  const auto value = whole(first_of(names), min, max);
  if (!value) return std::nullopt;
  return static_cast<int>(*value);
}

std::optional<std::int64_t> ConfigFields::long_integer(Names names) const {
  return whole(first_of(names), 0, std::int64_t{1} << 50);
}

std::optional<double> ConfigFields::number(Names names) const {
  const auto found = first_of(names);
  if (found.value == nullptr) return std::nullopt;
  if (!found.value->is_number()) {
    problems_->fail_at(found.path, fmt::format("{} is not a number", excerpt(*found.value)));
    return std::nullopt;
  }
  return found.value->get<double>();
}

std::optional<bool> ConfigFields::flag(Names names) const {
  const auto found = first_of(names);
  if (found.value == nullptr) return std::nullopt;
  if (found.value->is_boolean()) return found.value->get<bool>();
  if (found.value->is_number_integer()) return found.value->get<std::int64_t>() != 0;
  problems_->fail_at(found.path, fmt::format("{} is not true or false", excerpt(*found.value)));
  return std::nullopt;
}

std::optional<std::string> ConfigFields::text(Names names) const {
  const auto found = first_of(names);
  if (found.value == nullptr) return std::nullopt;
  if (!found.value->is_string()) {
    problems_->fail_at(found.path, fmt::format("{} is not a text", excerpt(*found.value)));
    return std::nullopt;
  }
  return found.value->get<std::string>();
}

std::optional<std::vector<int>> ConfigFields::integers(Names names) const {
  const auto found = first_of(names);
  if (found.value == nullptr) return std::nullopt;
  if (!found.value->is_array()) {
    problems_->fail_at(found.path, fmt::format("{} is not a list", excerpt(*found.value)));
    return std::nullopt;
  }
  std::vector<int> values;
  values.reserve(found.value->size());
  for (std::size_t i = 0; i < found.value->size(); ++i) {
    const json& element = (*found.value)[i];
    const auto path = [&] { return fmt::format("{}[{}]", found.path, i); };
    if (element.is_boolean()) {
      values.push_back(element.get<bool>() ? 1 : 0);
      continue;
    }
    if (!element.is_number_integer()) {
      problems_->fail_at(path(), fmt::format("{} is not a whole number", excerpt(element)));
      return std::nullopt;
    }
    const auto value = element.get<double>();
    if (std::abs(value) > kMaxInteger) {
      problems_->fail_at(path(), fmt::format("{} is out of range", excerpt(element)));
      return std::nullopt;
    }
    values.push_back(static_cast<int>(value));
  }
  return values;
}

std::optional<std::vector<std::string>> ConfigFields::texts(Names names) const {
  const auto found = first_of(names);
  if (found.value == nullptr) return std::nullopt;
  if (!found.value->is_array()) {
    problems_->fail_at(found.path, fmt::format("{} is not a list", excerpt(*found.value)));
    return std::nullopt;
  }
  std::vector<std::string> values;
  values.reserve(found.value->size());
  for (std::size_t i = 0; i < found.value->size(); ++i) {
    const json& element = (*found.value)[i];
    if (!element.is_string()) {
      problems_->fail_at(fmt::format("{}[{}]", found.path, i),
                         fmt::format("{} is not a text", excerpt(element)));
      return std::nullopt;
    }
    values.push_back(element.get<std::string>());
  }
  return values;
}

std::optional<ConfigFields> ConfigFields::object(std::string_view name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    problems_->fail_at(path_of(name), fmt::format("{} is not an object", excerpt(*value)));
    return std::nullopt;
  }
  return ConfigFields(*value, path_of(name), *problems_);
}

bool ConfigFields::is_list(std::string_view name) const {
  const json* value = find(name);
  return value != nullptr && value->is_array();
}

int ConfigFields::required(Names names, std::string_view why, int min, int max) const {
  if (const auto value = integer(names, min, max)) return *value;
  const auto name = *names.begin();
  const auto path = path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  problems_->fail_at(path, fmt::format("{}; {}", mentions(name) ? "is null" : "is missing", why));
  return min;
}

}  // namespace dsaperf::model
