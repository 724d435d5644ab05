#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `dsaperf completion bash|zsh|fish`: a script for the shell, made from the commands and flags that
// `app` has when it runs, so it cannot fall behind them.
void add_completion(Command& app);

}  // namespace dsaperf::tool
