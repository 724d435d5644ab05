#include "dsaperf/core/near_name.hpp"

#include "dsaperf/core/lower_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace dsaperf {
namespace {

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

}  // namespace

std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::optional<std::string_view> near_name(std::string_view asked,
                                          std::span<const std::string> known) {
  const std::string word = lower_case(asked);
  const auto begins = [&](const std::string& name) {
    const auto whole = lower_case(name);
    if (word.empty() || !whole.starts_with(word)) return false;
    return whole.size() == word.size() || !is_digit(word.back()) || !is_digit(whole[word.size()]);
  };
  if (std::ranges::count_if(known, begins) == 1) return *std::ranges::find_if(known, begins);
  std::optional<std::string_view> best;
  std::size_t best_distance = 0;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(word, lower_case(candidate));
    if (3 * distance > std::max(candidate.size(), std::size_t{3})) continue;
    if (!best || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> known) {
  const auto meant = near_name(word, known);
  return meant ? fmt::format("; did you mean '{}'?", *meant) : std::string();
}

}  // namespace dsaperf
