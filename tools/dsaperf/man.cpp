#include "man.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fmt/format.h>

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

// "TEXT:{agg,static}" of CLI11 is "agg|static"; "INT" stays.
std::string value_name(const CLI::Option& option) {
  std::string type = option.get_type_name();
  const auto open = type.find('{');
  const auto close = type.rfind('}');
  if (open != std::string::npos && close != std::string::npos && open < close) {
    type = type.substr(open + 1, close - open - 1);
    std::replace(type.begin(), type.end(), ',', '|');
    return type;
  }
  return type.substr(0, type.find(':'));
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  const auto all = app.get_subcommands([](const CLI::App*) { return true; });
  std::vector<const CLI::App*> shown;
  for (const CLI::App* each : all)
    if (!each->get_group().empty()) shown.push_back(each);  // no group: not for people
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

std::string option_entry(const CLI::Option& option) {
  std::string names;
  for (const auto& name : option.get_snames())
    names += (names.empty() ? "" : ", ") + bold("-" + name);
  for (const auto& name : option.get_lnames())
    names += (names.empty() ? "" : ", ") + bold("--" + name);
  const bool takes_value = option.get_items_expected_max() > 0;
  if (takes_value) names += " " + italic(value_name(option));
  std::string meaning = escaped(option.get_description());
  if (takes_value && !option.get_default_str().empty())
    meaning += " (default: " + escaped(option.get_default_str()) + ")";
  return fmt::format(".TP\n{}\n{}\n", names, meaning);
}

// The last words of the help: examples and what else there is to say, as they stand.
std::string footer(const CLI::App& app) {
  const std::string text = app.get_footer();
  if (text.empty()) return "";
  return fmt::format(".SH EXAMPLES AND NOTES\n.nf\n{}\n.fi\n", escaped(text));
}

std::string page(const CLI::App& app, const std::string& path, const CLI::App* above) {
  std::string title = page_name(path);
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string out = fmt::format(".TH \"{}\" 1 \"\" \"dsaperf {}\" \"dsaperf\"\n.nh\n.ad l\n",
                                escaped(title), DSAPERF_VERSION);
  out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(page_name(path)),
                     escaped(app.get_description()));

  std::string positionals, arguments, options;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_positional()) {
      const std::string name = option->get_name(true);
      positionals += " " + (option->get_required() ? italic(name) : "[" + italic(name) + "]");
      arguments += fmt::format(".TP\n{}\n{}\n", italic(name), escaped(option->get_description()));
    } else {
      options += option_entry(*option);
    }
  }
  const auto below = commands_of(app);
  out += fmt::format(".SH SYNOPSIS\n{}{} [options]{}\n", bold(path),
                     below.empty() ? "" : " " + italic("command"), positionals);
  if (!below.empty()) {
    out += ".SH COMMANDS\n";
    for (const CLI::App* command : below)
      out += fmt::format(".TP\n{}\n{}\n", bold(path + " " + command->get_name()),
                         escaped(command->get_description()));
  }
  if (!arguments.empty()) out += ".SH ARGUMENTS\n" + arguments;
  out += ".SH OPTIONS\n" + options;
  out += footer(app);
  out +=
      ".SH EXIT STATUS\n.TP\n.B 0\ndone\n.TP\n.B 1\nthe request failed; one line \"error: ...\" on "
      "standard error says why\n"
      ".TP\n.B 2\nwrong usage\n.TP\n.B 3\ndone, and the verdict is no\n";
  out +=
      ".SH ENVIRONMENT\n.TP\n.B DSAPERF_SYSTEMS\nAIConfigurator's systems folder\n.TP\n.B "
      "DSAPERF_DATA\nthe shipped data\n"
      ".TP\n.B NO_COLOR\nno colour, also on a terminal\n";
  std::string seen;
  if (above != nullptr) seen = reference(path.substr(0, path.rfind(' ')));
  for (const CLI::App* command : below)
    seen += (seen.empty() ? "" : ", ") + reference(path + " " + command->get_name());
  if (!seen.empty()) out += ".SH SEE ALSO\n" + seen + "\n";
  return out;
}

struct Page {
  std::string file;
  std::string text;
};

void add_pages(const CLI::App& app, const std::string& path, const CLI::App* above,
               std::vector<Page>& pages) {
  pages.push_back({page_name(path) + ".1", page(app, path, above)});
  for (const CLI::App* command : commands_of(app))
    add_pages(*command, path + " " + command->get_name(), &app, pages);
}

Result<ExitCode> man(const CLI::App& app, const std::vector<std::string>& words,
                     const std::string& directory) {
  std::vector<Page> pages;
  add_pages(app, app.get_name(), nullptr, pages);
  if (!directory.empty()) {
    std::error_code code;
    std::filesystem::create_directories(directory, code);
    if (code) return fail(Errc::kIo, "{}: {}", directory, code.message());
    for (const Page& each : pages)
      DSAPERF_TRY(write_file(std::filesystem::path(directory) / each.file, each.text));
    return ExitCode::kDone;
  }
  std::string wanted = app.get_name();
  for (const auto& word : words) wanted += " " + word;
  const auto found = std::find_if(pages.begin(), pages.end(), [&](const Page& each) {
    return each.file == page_name(wanted) + ".1";
  });
  if (found == pages.end()) return fail(Errc::kNotFound, "'{}' is no command", wanted);
  std::fputs(found->text.c_str(), stdout);
  return ExitCode::kDone;
}

}  // namespace

void add_man(CLI::App& app, Run& run) {
  auto* command = app.add_subcommand("man", "Print the manual page of a command, or write all");
  auto words = std::make_shared<std::vector<std::string>>();
  auto directory = std::make_shared<std::string>();
  auto* named = command->add_option("COMMAND", *words, "The command's words, for example: db ls");
  command->add_option("-o,--output", *directory, "Write the pages of all commands into this folder")
      ->type_name("DIR")
      ->excludes(named);
  command->footer("Example:\n  dsaperf man db ls | man -l -");
  command->callback([&app, &run, words, directory] {
    run = [&app, words, directory] { return man(app, *words, *directory); };
  });
}

}  // namespace dsaperf::tool
