#pragma once

#include "command.hpp"

#include <string>

namespace dsaperf::tool {

// The argument that names a model, of every command that takes one: model::load_model() reads it.
inline Option add_config(Command& command, std::string& config) {
  return command.add_option("CONFIG", config,
                            "config.json or NAME_config.json, a folder that holds one, - for "
                            "standard input, or a bundled model's name");
}

// The same of a command whose processes read it each for itself.
inline Option add_config_of_processes(Command& command, std::string& config) {
  return command
      .add_option("CONFIG", config,
                  "config.json or NAME_config.json, a folder that holds one, or a bundled model's "
                  "name")
      .check([](const std::string& value) {
        return std::string(
            value == "-" ? "standard input cannot be read by several processes; give a file" : "");
      });
}

}  // namespace dsaperf::tool
