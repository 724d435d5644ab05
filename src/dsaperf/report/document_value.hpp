#pragma once

#include <nlohmann/json.hpp>

#include <initializer_list>
#include <string>
#include <string_view>

// Reading a command's document, which may lack anything.
namespace dsaperf::report {

using Json = nlohmann::ordered_json;

// The value at a path of keys; null where there is none.
const Json& at(const Json& json, std::initializer_list<std::string_view> keys);
// The list at a path; empty where there is none.
const Json& list_at(const Json& json, std::initializer_list<std::string_view> keys);
// NaN where there is no number.
double number_at(const Json& json, std::initializer_list<std::string_view> keys);
// Empty where there is no text.
std::string text_at(const Json& json, std::initializer_list<std::string_view> keys);

}  // namespace dsaperf::report
