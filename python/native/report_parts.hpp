#pragma once

#include "dsaperf/model/model_spec.hpp"
#include "failure.hpp"

#include <nanobind/nanobind.h>
#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace dsaperf::python {

// A report in both forms. File names in it may hold bytes that are no UTF-8; they are replaced.
struct Rendered {
  std::string document;  // JSON
  std::string text;
};
Rendered rendered(const nlohmann::ordered_json& document, std::string text);
nanobind::tuple as_tuple(const Rendered& report);

// A model by path or bundled name, or by the text of its config.json, which begins with "{".
model::ModelSpec load(std::string_view config);

// The tables' name of a format: "bf16" is "bfloat16" there.
std::string table_format(const std::string& name);

}  // namespace dsaperf::python
