#include "man.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::tool {
namespace {

// Text as roff takes it literally.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      // A dot or a quote at the start of a line would be a request.
      if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
      out += c;
    }
  }
  return out;
}

std::string bold(const std::string& text) {
  return "\\fB" + escaped(text) + "\\fR";
}

std::string italic(const std::string& text) {
  return "\\fI" + escaped(text) + "\\fR";
}

std::string value_name(const Command::Entry& entry) {
  return entry.choices.empty() ? entry.type : fmt::format("{}", fmt::join(entry.choices, "|"));
}

std::vector<Command*> commands_of(Command& command) {
  std::vector<Command*> shown;
  for (const auto& each : command.commands())
    if (!each->is_hidden()) shown.push_back(each.get());
  return shown;
}

// "dsaperf db ls" is dsaperf-db-ls(1).
std::string page_name(const std::string& path) {
  std::string name = path;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string reference(const std::string& path) {
  return bold(page_name(path)) + "(1)";
}

std::string flag_entry(const Command::Entry& flag) {
  std::string names;
  for (const auto& name : flag.names) names += (names.empty() ? "" : ", ") + bold(name);
  if (flag.takes_value) names += " " + italic(value_name(flag));
  std::string meaning = escaped(flag.description);
  if (flag.takes_value && !flag.default_value.empty())
    meaning += " (default: " + escaped(flag.default_value) + ")";
  return fmt::format(".TP\n{}\n{}\n", names, meaning);
}

// The last words of the help: examples and what else there is to say, as they stand.
std::string footer(Command& command) {
  const std::string text = command.footer();
  if (text.empty()) return "";
  return fmt::format(".SH EXAMPLES AND NOTES\n.nf\n{}\n.fi\n", escaped(text));
}

std::string page(Command& command, const std::string& path, const Command* above) {
  std::string title = page_name(path);
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string out = fmt::format(".TH \"{}\" 1 \"\" \"dsaperf {}\" \"dsaperf\"\n.nh\n.ad l\n",
                                escaped(title), DSAPERF_VERSION);
  out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(page_name(path)),
                     escaped(command.description()));

  std::string positionals, arguments, options;
  for (const Command::Entry& entry : command.entries()) {
    if (entry.argument.empty()) {
      options += flag_entry(entry);
      continue;
    }
    const std::string name = italic(entry.argument);
    positionals += " " + (entry.required ? name : "[" + name + "]");
    arguments += fmt::format(".TP\n{}\n{}\n", name, escaped(entry.description));
  }
  const auto below = commands_of(command);
  out += fmt::format(".SH SYNOPSIS\n{}{} [options]{}\n", bold(path),
                     below.empty() ? "" : " " + italic("command"), positionals);
  if (!below.empty()) {
    out += ".SH COMMANDS\n";
    for (const Command* each : below)
      out += fmt::format(".TP\n{}\n{}\n", bold(path + " " + each->name()),
                         escaped(each->description()));
  }
  if (!arguments.empty()) out += ".SH ARGUMENTS\n" + arguments;
  out += ".SH OPTIONS\n" + options;
  out += footer(command);
  out +=
      ".SH EXIT STATUS\n.TP\n.B 0\ndone\n.TP\n.B 1\nthe request failed; one line \"error: ...\" on "
      "standard error says why\n"
      ".TP\n.B 2\nwrong usage\n.TP\n.B 3\ndone, and the verdict is no\n";
  out +=
      ".SH ENVIRONMENT\n.TP\n.B DSAPERF_SYSTEMS\nAIConfigurator's systems folder, "
      "or none\n.TP\n.B "
      "DSAPERF_DATA\nthe shipped data\n"
      ".TP\n.B NO_COLOR\nno colour, also on a terminal\n";
  std::string seen;
  if (above != nullptr) seen = reference(path.substr(0, path.rfind(' ')));
  for (const Command* each : below)
    seen += (seen.empty() ? "" : ", ") + reference(path + " " + each->name());
  if (!seen.empty()) out += ".SH SEE ALSO\n" + seen + "\n";
  return out;
}

struct Page {
  std::string file;
  std::string text;
};

void add_pages(Command& command, const std::string& path, const Command* above,
               std::vector<Page>& pages) {
  pages.push_back({page_name(path) + ".1", page(command, path, above)});
  for (Command* each : commands_of(command))
    add_pages(*each, path + " " + each->name(), &command, pages);
}

Result<ExitCode> man(Command& program, const std::vector<std::string>& words,
                     const std::string& directory) {
  std::vector<Page> pages;
  add_pages(program, program.name(), nullptr, pages);
  if (!directory.empty()) {
    std::error_code code;
    std::filesystem::create_directories(directory, code);
    if (code) return fail(Errc::kIo, "{}: {}", directory, code.message());
    for (const Page& each : pages)
      DSAPERF_TRY(write_file(std::filesystem::path(directory) / each.file, each.text));
    return ExitCode::kDone;
  }
  std::string wanted = program.name();
  for (const auto& word : words) wanted += " " + word;
  const auto found = std::find_if(pages.begin(), pages.end(), [&](const Page& each) {
    return each.file == page_name(wanted) + ".1";
  });
  if (found == pages.end()) return fail(Errc::kNotFound, "'{}' is no command", wanted);
  std::fputs(found->text.c_str(), stdout);
  return ExitCode::kDone;
}

void declare_man(Command& command, Command& program) {
  auto words = std::make_shared<std::vector<std::string>>();
  auto directory = std::make_shared<std::string>();
  const auto named =
      command.add_option("COMMAND", *words, "The command's words, for example: db ls");
  command.add_option("-o,--output", *directory, "Write the pages of all commands into this folder")
      .type_name("DIR")
      .excludes(named);
  command.footer("Example:\n  dsaperf man db ls | man -l -");
  command.callback([&program, words, directory] { return man(program, *words, *directory); });
}

}  // namespace

void add_man(Command& app) {
  app.add_command("man", "Print the manual page of a command, or write all",
                  [&app](Command& command) { declare_man(command, app); });
}

}  // namespace dsaperf::tool
