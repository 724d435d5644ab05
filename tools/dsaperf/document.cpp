#include "document.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>

namespace dsaperf::tool {

void print_document(const nlohmann::ordered_json& document) {
  std::puts(document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

std::string document_line(const nlohmann::ordered_json& document) {
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace dsaperf::tool
