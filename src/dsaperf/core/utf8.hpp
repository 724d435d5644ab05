#pragma once

#include <string>
#include <string_view>

namespace dsaperf {

// `text` with each byte that is no part of UTF-8 replaced by U+FFFD. A file's name is any bytes,
// and what is made of one stands in documents and tables that are UTF-8.
std::string valid_utf8(std::string_view text);

}  // namespace dsaperf
