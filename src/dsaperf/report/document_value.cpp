#include "dsaperf/report/document_value.hpp"

#include <cmath>

namespace dsaperf::report {

const Json& at(const Json& json, std::initializer_list<std::string_view> keys) {
  static const Json kNothing;
  const Json* here = &json;
  for (const auto key : keys) {
    if (!here->is_object()) return kNothing;
    const auto found = here->find(key);
    if (found == here->end()) return kNothing;
    here = &*found;
  }
  return *here;
}

const Json& list_at(const Json& json, std::initializer_list<std::string_view> keys) {
  static const Json kNone = Json::array();
  const auto& found = at(json, keys);
  return found.is_array() ? found : kNone;
}

double number_at(const Json& json, std::initializer_list<std::string_view> keys) {
  const auto& found = at(json, keys);
  return found.is_number() ? found.get<double>() : std::nan("");
}

std::string text_at(const Json& json, std::initializer_list<std::string_view> keys) {
  const auto& found = at(json, keys);
  return found.is_string() ? found.get<std::string>() : std::string();
}

}  // namespace dsaperf::report
