#pragma once

#include "command.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf::tool {

// What is wrong with the words of a command line where one of them should be a command and is none:
//   'anlyze' is no command of dsaperf; did you mean 'analyze'?
// Empty if they lead to a command, or stop before one is named.
std::optional<std::string> unknown_command(Command& app, std::span<char* const> words);

}  // namespace dsaperf::tool
