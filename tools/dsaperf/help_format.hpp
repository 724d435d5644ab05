#pragma once

#include <memory>

namespace CLI {  // NOLINT(readability-identifier-naming): its name
class FormatterBase;
}  // namespace CLI

namespace dsaperf::tool {

// Help texts within 80 columns: descriptions break between words, examples behind a backslash, so
// that they can still be copied. Line breaks of a text stay.
std::shared_ptr<CLI::FormatterBase> help_format();

}  // namespace dsaperf::tool
