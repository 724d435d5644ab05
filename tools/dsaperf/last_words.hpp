#pragma once

#include "dsaperf/core/error.hpp"

#include <string>
#include <vector>

namespace dsaperf::tool {

// From now on Ctrl-C and SIGTERM put `text` on stderr before they end the program, as they would
// have anyway: at once, with the exit code of the signal. A signal that was ignored (nohup) stays
// so. For a command whose work is safe on disk at any moment.
void leave_last_words(const std::string& text);

// The command line of this process with `more` behind it, as a shell takes it.
Result<std::string> command_line_with(const std::vector<std::string>& more);

}  // namespace dsaperf::tool
