#include "dsaperf/report/page/assets.hpp"

// The assembler reads the files (CMakeLists.txt gives their paths and rebuilds this when one
// changes): a megabyte of text as a C++ array takes the compiler seconds.
#define DSAPERF_EMBED(symbol, file)             \
  asm(".section .rodata\n"                      \
      ".hidden dsaperf_" #symbol                \
      "_begin\n"                                \
      ".global dsaperf_" #symbol                \
      "_begin\n"                                \
      "dsaperf_" #symbol                        \
      "_begin:\n"                               \
      ".incbin \"" file                         \
      "\"\n"                                    \
      ".hidden dsaperf_" #symbol                \
      "_end\n"                                  \
      ".global dsaperf_" #symbol                \
      "_end\n"                                  \
      "dsaperf_" #symbol                        \
      "_end:\n"                                 \
      ".byte 0\n"                               \
      ".text\n");                               \
  extern "C" {                                  \
  extern const char dsaperf_##symbol##_begin[]; \
  extern const char dsaperf_##symbol##_end[];   \
  }

DSAPERF_EMBED(vega, DSAPERF_VEGA_FILE)
DSAPERF_EMBED(style, DSAPERF_STYLE_FILE)
DSAPERF_EMBED(script, DSAPERF_SCRIPT_FILE)

namespace dsaperf::report::page {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::string_view vega() {
  return between(dsaperf_vega_begin, dsaperf_vega_end);
}
std::string_view style() {
  return between(dsaperf_style_begin, dsaperf_style_end);
}
std::string_view script() {
  return between(dsaperf_script_begin, dsaperf_script_end);
}

}  // namespace dsaperf::report::page
