#include "usage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace dsaperf::tool {
namespace {

// Insertions, deletions and replacements that turn one word into the other.
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

}  // namespace

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string> known) {
  std::optional<std::string_view> best;
  std::size_t best_distance = 0;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (3 * distance > std::max(candidate.size(), std::size_t{3})) continue;
    if (!best || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::optional<std::string> unknown_command(Command& app, std::span<char* const> words) {
  Command* current = &app;
  std::string path = app.name();
  for (const std::string_view word : words) {
    const auto& commands = current->commands();
    if (word.starts_with('-') || commands.empty()) return {};
    const auto found = std::find_if(commands.begin(), commands.end(),
                                    [&](const auto& each) { return each->name() == word; });
    if (found == commands.end()) {
      std::vector<std::string> names;
      for (const auto& each : commands) names.push_back(each->name());
      std::string text = fmt::format("'{}' is no command of {}", word, path);
      if (const auto meant = nearest(word, names)) {
        text += fmt::format("; did you mean '{}'?", *meant);
      } else {
        text += fmt::format("; there are {}", fmt::join(names, ", "));
      }
      return text;
    }
    current = found->get();
    path += fmt::format(" {}", word);
  }
  return {};
}

}  // namespace dsaperf::tool
