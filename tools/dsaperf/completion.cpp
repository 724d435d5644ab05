#include "completion.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct Flag {
  std::string name;     // "--mode", "-o"
  std::string meaning;  // first line of its help
  bool takes_value = false;
  std::vector<std::string> values;  // empty: not a choice of words
};

// What a shell offers after the words of a command.
struct Offered {
  std::string path;  // "" for the program itself, "db ls" for a command of a command
  std::string meaning;
  std::vector<std::string> commands;  // names of the commands below it
  std::vector<std::string> values;    // choices of its positional arguments
  std::vector<Flag> flags;
};

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void collect(Command& command, const std::string& path, std::vector<Offered>& all) {
  Offered offered{.path = path,
                  .meaning = first_line(command.description()),
                  .commands = {},
                  .values = {},
                  .flags = {}};
  for (const Command::Entry& entry : command.entries()) {
    if (!entry.argument.empty())
      offered.values.insert(offered.values.end(), entry.choices.begin(), entry.choices.end());
    for (const auto& name : entry.names) {
      offered.flags.push_back(
          {name, first_line(entry.description), entry.takes_value, entry.choices});
    }
  }
  const auto& below = command.commands();
  for (const auto& each : below) offered.commands.push_back(each->name());
  all.push_back(std::move(offered));
  for (const auto& each : below)
    collect(*each, path.empty() ? each->name() : path + " " + each->name(), all);
}

std::vector<std::string> flag_names(const Offered& command) {
  std::vector<std::string> names;
  for (const Flag& flag : command.flags) names.push_back(flag.name);
  return names;
}

// Quoted for the three shells alike.
std::string in_quotes(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c != '\'' && c != '\\') out += c;
  }
  return out + "'";
}

// bash: words are matched against the command line from the left; files where nothing else fits.
std::string bash(const std::vector<Offered>& commands) {
  std::string cases;
  std::string paths;
  for (const Offered& command : commands) {
    paths += fmt::format("    {}) path=$next ;;\n", in_quotes(command.path));
    std::string values;
    for (const Flag& flag : command.flags) {
      if (!flag.values.empty()) {
        values +=
            fmt::format("        {}) words='{}' ;;\n", flag.name, fmt::join(flag.values, " "));
      } else if (flag.takes_value) {
        values += fmt::format("        {}) return ;;\n", flag.name);
      }
    }
    const std::string words =
        fmt::format("{} {} {}", fmt::join(command.commands, " "), fmt::join(command.values, " "),
                    fmt::join(flag_names(command), " "));
    cases += fmt::format("    {})\n      words={}\n", in_quotes(command.path), in_quotes(words));
    if (!values.empty()) cases += fmt::format("      case $previous in\n{}      esac\n", values);
    cases += "      ;;\n";
  }
  return fmt::format(R"(# bash completion of dsaperf: source this, or save it as
# ~/.local/share/bash-completion/completions/dsaperf
_dsaperf() {{
  local path= next words= i current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  for ((i = 1; i < COMP_CWORD; i++)); do
    next=${{path:+$path }}${{COMP_WORDS[i]}}
    case $next in
{}    esac
  done
  COMPREPLY=()
  case $path in
{}  esac
  if [[ -z $current || $current != -* ]]; then compopt -o default; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _dsaperf dsaperf
)",
                     paths, cases);
}

// One entry of zsh's _describe. No word of ours holds a colon.
std::string described(const std::string& word, const std::string& meaning) {
  return in_quotes(word + ":" + meaning) + " ";
}

// zsh: what is offered has its meaning beside it. ("path" would be its PATH.)
std::string zsh(const std::vector<Offered>& commands) {
  std::string places;
  std::string cases;
  for (const Offered& command : commands) {
    if (!command.path.empty())
      places += fmt::format("      {}) place=$next ;;\n", in_quotes(command.path));
    std::string values;
    std::string words;
    std::string flags;
    for (const Flag& flag : command.flags) {
      flags += described(flag.name, flag.meaning);
      if (!flag.values.empty()) {
        values += fmt::format("        {}) compadd -- {}; return ;;\n", flag.name,
                              fmt::join(flag.values, " "));
      } else if (flag.takes_value) {
        values += fmt::format("        {}) _files; return ;;\n", flag.name);
      }
    }
    for (const std::string& name : command.commands) {
      const std::string path = command.path.empty() ? name : command.path + " " + name;
      const auto below = std::find_if(commands.begin(), commands.end(),
                                      [&](const Offered& other) { return other.path == path; });
      words += described(name, below == commands.end() ? "" : below->meaning);
    }
    for (const std::string& value : command.values) words += in_quotes(value) + " ";
    cases += fmt::format("    {})\n      words_here=({})\n      flags_here=({})\n",
                         in_quotes(command.path), words, flags);
    if (!values.empty())
      cases += fmt::format("      case $words[CURRENT-1] in\n{}      esac\n", values);
    cases += "      ;;\n";
  }
  return fmt::format(R"(#compdef dsaperf
# zsh completion of dsaperf: save as _dsaperf in a folder of $fpath, or source it after compinit
_dsaperf() {{
  local place= next= i
  local -a words_here flags_here
  for ((i = 2; i < CURRENT; i++)); do
    next=${{place:+$place }}$words[i]
    case $next in
{}    esac
  done
  case $place in
{}  esac
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o flag flags_here
  elif (( $#words_here )); then
    _describe word words_here
  else
    _files
  fi
}}
if [[ $funcstack[1] == _dsaperf ]]; then _dsaperf "$@"; else compdef _dsaperf dsaperf; fi
)",
                     places, cases);
}

std::string fish(const std::vector<Offered>& commands) {
  std::string out =
      "# fish completion of dsaperf: save as ~/.config/fish/completions/dsaperf.fish\n";
  for (const Offered& command : commands) {
    // Within the words of its path, and in none of the commands below it.
    std::string where;
    if (command.path.empty()) {
      where = "__fish_use_subcommand";
    } else {
      where = "__fish_seen_subcommand_from ";
      for (const char c : command.path) {
        where += c == ' ' ? "; and __fish_seen_subcommand_from " : std::string(1, c);
      }
      if (!command.commands.empty()) {
        where += fmt::format("; and not __fish_seen_subcommand_from {}",
                             fmt::join(command.commands, " "));
      }
    }
    for (const std::string& name : command.commands) {
      const std::string path = command.path.empty() ? name : command.path + " " + name;
      const auto below = std::find_if(commands.begin(), commands.end(),
                                      [&](const Offered& other) { return other.path == path; });
      out += fmt::format("complete -c dsaperf -n {} -f -a {} -d {}\n", in_quotes(where), name,
                         in_quotes(below == commands.end() ? "" : below->meaning));
    }
    if (!command.values.empty()) {
      out += fmt::format("complete -c dsaperf -n {} -f -a {}\n", in_quotes(where),
                         in_quotes(fmt::format("{}", fmt::join(command.values, " "))));
    }
    for (const Flag& flag : command.flags) {
      const bool is_long = flag.name.starts_with("--");
      out += fmt::format("complete -c dsaperf -n {} -{} {} -d {}", in_quotes(where),
                         is_long ? 'l' : 's', flag.name.substr(is_long ? 2 : 1),
                         in_quotes(flag.meaning));
      if (!flag.values.empty()) {
        out += fmt::format(" -x -a {}", in_quotes(fmt::format("{}", fmt::join(flag.values, " "))));
      } else if (flag.takes_value) {
        out += " -r";
      }
      out += '\n';
    }
  }
  return out;
}

// `program` is what the script completes.
void declare_completion(Command& command, Command& program) {
  auto shell = std::make_shared<std::string>();
  command.add_option("SHELL", *shell, "The shell").required().one_of({"bash", "zsh", "fish"});
  command.footer("Example:\n  source <(dsaperf completion bash)");
  command.callback([&program, shell]() -> Result<ExitCode> {
    std::vector<Offered> commands;
    collect(program, "", commands);
    const std::string script = *shell == "bash"  ? bash(commands)
                               : *shell == "zsh" ? zsh(commands)
                                                 : fish(commands);
    std::fputs(script.c_str(), stdout);
    return ExitCode::kDone;
  });
}

}  // namespace

void add_completion(Command& app) {
  app.add_command("completion", "Print the completion script of a shell",
                  [&app](Command& command) { declare_completion(command, app); });
}

}  // namespace dsaperf::tool
