// Any bytes, plain or gzip: rows come out or an error does, and every field lies within the input's
// size.

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/gzip.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto reader = dsaperf::CsvReader::over(text);
  if (!reader) return 0;
  std::size_t last_line = 0;
  while (true) {
    const auto more = reader->next();
    if (!more || !*more) break;
    if (reader->line() < last_line) std::abort();  // a lone CR ends a row, but no line
    last_line = reader->line();
    for (const std::string_view field : reader->fields()) {
      (void)dsaperf::parse_double(field);
      (void)dsaperf::parse_int(field);
    }
  }
  return 0;
}
