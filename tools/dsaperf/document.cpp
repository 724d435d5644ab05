#include "document.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>

namespace dsaperf::tool {
namespace {

bool begun = false;

}  // namespace

void print_document(const nlohmann::ordered_json& document) {
  begin_document();
  std::puts(document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void begin_document() {
  begun = true;
}

bool is_document_begun() {
  return begun;
}

std::string document_line(const nlohmann::ordered_json& document) {
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace dsaperf::tool
