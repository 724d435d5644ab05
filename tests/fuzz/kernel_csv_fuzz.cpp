// Any text: a table comes out whose rows are usable, or an error does.

#include "dsaperf/trace/importers/kernel_csv.hpp"
#include "dsaperf/trace/importers/text_tables.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto text = dsaperf::trace::as_csv(bytes, dsaperf::trace::form_of(bytes));
  if (!text) return 0;
  auto csv = dsaperf::CsvReader::over(*text);
  if (!csv) return 0;
  const auto timeline = dsaperf::trace::read_kernel_csv(*std::move(csv));
  if (!timeline) return 0;
  if (timeline->sums.empty() && timeline->launches.empty()) std::abort();
  for (const auto& sum : timeline->sums) {
    if (!(sum.total_ns >= 0) || sum.calls < 0) std::abort();
  }
  return 0;
}
