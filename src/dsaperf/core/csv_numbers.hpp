#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf {

// A row of a file of constants: words that say what it is of, and its numbers.
struct NumberRow {
  std::vector<std::string> words;
  std::vector<double> numbers;
  std::size_t line = 0;  // on which it starts, from 1
};

// Every row of a comma-separated file with these columns, in any order; others are not read. Fails
// where a column is missing or a number is none.
Result<std::vector<NumberRow>> read_number_rows(const std::filesystem::path& path,
                                                std::span<const std::string_view> words,
                                                std::span<const std::string_view> numbers);

}  // namespace dsaperf
