#include "usage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace dsaperf::tool {
namespace {

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_name().empty()) names.push_back(command->get_name());
  }
  return names;
}

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

std::optional<std::string> unknown_command(const CLI::App& app, std::span<char* const> words) {
  const CLI::App* current = &app;
  std::string path = app.get_name();
  for (const std::string_view word : words) {
    if (word.starts_with('-')) return {};
    const auto names = command_names(*current);
    if (names.empty()) return {};
    if (std::find(names.begin(), names.end(), word) == names.end()) {
      std::string text = fmt::format("'{}' is no command of {}", word, path);
      if (const auto meant = nearest(word, names)) {
        text += fmt::format("; did you mean '{}'?", *meant);
      } else {
        text += fmt::format("; there are {}", fmt::join(names, ", "));
      }
      return text;
    }
    current = current->get_subcommand(std::string(word));
    path += fmt::format(" {}", word);
  }
  return {};
}

std::string command_path(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* current = &app; !current->get_subcommands().empty();) {
    current = current->get_subcommands().front();
    path += " " + current->get_name();
  }
  return path;
}

}  // namespace dsaperf::tool
