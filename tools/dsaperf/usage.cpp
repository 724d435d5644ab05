#include "usage.hpp"

#include "dsaperf/core/near_name.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace dsaperf::tool {
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
      const auto text = fmt::format("'{}' is no command of {}", word, path);
      const auto meant = did_you_mean(word, names);
      return text + (meant.empty() ? fmt::format("; there are {}", fmt::join(names, ", ")) : meant);
    }
    current = found->get();
    path += fmt::format(" {}", word);
  }
  return {};
}

}  // namespace dsaperf::tool
