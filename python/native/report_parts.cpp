#include "report_parts.hpp"

#include "dsaperf/model/load_model.hpp"

#include <nlohmann/json.hpp>

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

nb::str unicode(const std::string& text) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

}  // namespace

Rendered rendered(const nlohmann::ordered_json& document, std::string text) {
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  return {document.dump(-1, ' ', false, kReplace), std::move(text)};
}

nb::tuple as_tuple(const Rendered& report) {
  return nb::make_tuple(unicode(report.document), unicode(report.text));
}

model::ModelSpec load(std::string_view config) {
  if (config.starts_with('{')) return take(model::parse_model(config, "", "config"));
  return take(model::load_model(config));
}

std::string table_format(const std::string& name) {
  return name == "bf16" ? "bfloat16" : name;
}

}  // namespace dsaperf::python
