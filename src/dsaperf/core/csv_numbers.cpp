#include "dsaperf/core/csv_numbers.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

namespace dsaperf {

Result<std::vector<NumberRow>> read_number_rows(const std::filesystem::path& path,
                                                std::span<const std::string_view> words,
                                                std::span<const std::string_view> numbers) {
  DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
  DSAPERF_TRY_ASSIGN(const bool has_header, csv.next());
  const auto places =
      [&](std::span<const std::string_view> names) -> Result<std::vector<std::size_t>> {
    std::vector<std::size_t> found;
    for (const auto name : names) {
      const auto column = has_header ? find_column(csv.fields(), name) : std::nullopt;
      if (!column) return fail(Errc::kParse, "{}: no column '{}'", path.native(), name);
      found.push_back(*column);
    }
    return found;
  };
  DSAPERF_TRY_ASSIGN(const auto word_at, places(words));
  DSAPERF_TRY_ASSIGN(const auto number_at, places(numbers));
  std::vector<NumberRow> rows;
  while (true) {
    DSAPERF_TRY_ASSIGN(const bool more, csv.next());
    if (!more) return rows;
    NumberRow row;
    row.line = csv.line();
    for (const auto at : word_at) row.words.emplace_back(csv.field(at));
    for (std::size_t i = 0; i < number_at.size(); ++i) {
      const auto value = parse_double(csv.field(number_at[i]));
      if (!value)
        return fail(Errc::kParse, "{}:{}: {} '{}' is no number", path.native(), csv.line(),
                    numbers[i], csv.field(number_at[i]));
      row.numbers.push_back(*value);
    }
    rows.push_back(std::move(row));
  }
}

}  // namespace dsaperf
