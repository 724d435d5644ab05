#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace dsaperf::tool {

// A command's JSON document on standard output. It may name files, whose names are any bytes: what
// is no UTF-8 in them is replaced.
void print_document(const nlohmann::ordered_json& document);

// To be told before a document is printed in another way, as print_document does itself; and
// whether it was: a failure that comes after a document, or is told in it, is no second one.
void begin_document();
bool is_document_begun();

// The same in one line, without its end, for a stream of them.
std::string document_line(const nlohmann::ordered_json& document);

}  // namespace dsaperf::tool
