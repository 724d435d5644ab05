#pragma once

#include <string>
#include <string_view>

namespace dsaperf::trace {

// Appends text as a JSON string, quotes included. For documents of a launch a line, written piece
// by piece: a tree of them would take many times the memory. Bytes that are no UTF-8 become "?".
void append_json_string(std::string& out, std::string_view text);

}  // namespace dsaperf::trace
