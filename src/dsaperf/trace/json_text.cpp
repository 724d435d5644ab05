#include "dsaperf/trace/json_text.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <iterator>

namespace dsaperf::trace {

void append_json_string(std::string& out, std::string_view text) {
  const bool valid = simdjson::validate_utf8(text.data(), text.size());
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else {
      out += valid || byte < 0x80 ? c : '?';
    }
  }
  out += '"';
}

}  // namespace dsaperf::trace
