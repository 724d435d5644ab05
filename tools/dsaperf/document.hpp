#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace dsaperf::tool {

// A command's JSON document on standard output. It may name files, whose names are any bytes: what
// is no UTF-8 in them is replaced.
void print_document(const nlohmann::ordered_json& document);

// The same in one line, without its end, for a stream of them.
std::string document_line(const nlohmann::ordered_json& document);

}  // namespace dsaperf::tool
