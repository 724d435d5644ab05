#include "dsaperf/trace/read_trace.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/importers/chrome_trace.hpp"
#include "dsaperf/trace/importers/kernel_csv.hpp"
#include "dsaperf/trace/importers/nsys_sqlite.hpp"
#include "dsaperf/trace/importers/own_trace.hpp"
#include "dsaperf/trace/importers/text_tables.hpp"

#include <array>
#include <new>
#include <string_view>

namespace dsaperf::trace {
namespace {

// Tables are small beside traces: this one is held as text.
Result<Timeline> read_text_table(const std::filesystem::path& path, TextForm form) {
  DSAPERF_TRY_ASSIGN(const auto text, read_maybe_gzip(path));
  DSAPERF_TRY_ASSIGN(const auto table, as_csv(text, form));
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::over(table));
  return read_kernel_csv(std::move(csv));
}

Result<Timeline> read_as_it_is(const std::filesystem::path& path) {
  std::array<char, 4096> front{};
  std::size_t size = 0;
  {
    DSAPERF_TRY_ASSIGN(auto probe, ByteReader::open(path));
    while (size < front.size()) {
      DSAPERF_TRY_ASSIGN(const std::size_t got,
                         probe.read(std::span(front.data() + size, front.size() - size)));
      if (got == 0) break;
      size += got;
    }
  }
  std::string_view text(front.data(), size);
  if (text.empty()) return fail(Errc::kParse, "empty file");
  if (text.starts_with("SQLite format 3")) return read_nsys_sqlite(path);
  if (text.starts_with("version https://git-lfs")) {
    return fail(Errc::kParse, "this is a git-lfs pointer, not the file itself; run git lfs pull");
  }
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    return fail(Errc::kUnsupported,
                "this text is UTF-16, as PowerShell's > writes it; make it UTF-8: iconv -f UTF-16 "
                "-t UTF-8 FILE > NEW");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return fail(Errc::kParse, "empty file: only white space");
  const auto form = form_of(text);
  if (form != TextForm::kCsv) return read_text_table(path, form);
  if (text[first] == '{' || text[first] == '[') {
    DSAPERF_TRY_ASSIGN(auto bytes, ByteReader::open(path));
    return is_own_trace(text) ? read_own_trace(std::move(bytes))
                              : read_chrome_trace(std::move(bytes));
  }
  if (text.find('\0') != std::string_view::npos) {
    return fail(Errc::kUnsupported,
                "not a trace known here; of an .nsys-rep make one by nsys export --type sqlite, of "
                "an .ncu-rep by ncu --import FILE --csv");
  }
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
  return read_kernel_csv(std::move(csv));
}

}  // namespace

Result<Timeline> read_trace(const std::filesystem::path& path) {
  const auto with_path = [&](Error error) {
    // What reads the bytes has named the file already.
    if (error.message().starts_with(path.native())) return error;
    return std::move(error).with_context(path.native());
  };
  auto timeline = read_as_it_is(path).map_error(with_path);
  if (!timeline) return timeline;
  if (timeline->launches.empty() && timeline->sums.empty()) {
    return fail(
        Errc::kNotFound, "{}: no GPU kernel in this trace{}", path.native(),
        timeline->bad_events > 0 ? " that could be used: " + timeline->warnings.back() : "");
  }
  timeline->sort();
  return timeline;
}

Result<Timeline> read_trace(const std::filesystem::path& path, std::string_view range) {
  auto timeline = read_trace(path);
  if (!timeline || range.empty()) return timeline;
  DSAPERF_TRY(trim_to_range(*timeline, range).map_error([&](Error error) {
    return std::move(error).with_context(path.native());
  }));
  return timeline;
}

}  // namespace dsaperf::trace
