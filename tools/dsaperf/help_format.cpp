#include "help_format.hpp"

#include "dsaperf/core/wrapped.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>

namespace dsaperf::tool {
namespace {

constexpr std::size_t kWidth = 80;

// An example goes on as a command does.
std::string help_wrapped(std::string_view text, std::size_t columns) {
  const auto width = static_cast<int>(columns);
  std::string result;
  for (std::size_t start = 0; start <= text.size();) {
    const auto end = std::min(text.find('\n', start), text.size());
    const auto line = text.substr(start, end - start);
    if (start > 0) result += '\n';
    const bool example = line.starts_with("  ") || line.starts_with("Example: ");
    result += example ? wrapped(line, width, {.separator = " \\", .indent = "      "})
                      : wrapped(line, width);
    start = end + 1;
  }
  return result;
}

// CLI11 puts a check behind the type, "INT:INT in [1 - 8]", "TEXT:{gpu,cpu}", "INT:POSITIVE".
std::string shown_type(const std::string& type) {
  const auto colon = type.find(':');
  if (colon == std::string::npos) return type;
  const auto kind = type.substr(0, colon);
  const auto check = type.substr(colon + 1);
  if (check.starts_with('{') || check.starts_with(kind)) return check;
  if (check == "POSITIVE") return kind + " [> 0]";
  if (check == "NONNEGATIVE") return kind + " [>= 0]";
  return type;
}

class HelpFormat : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    return help_wrapped(CLI::Formatter::make_option_desc(option), kWidth - column_width_);
  }

  // A long list of choices goes on in the next line.
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    const auto type = option->get_type_name();
    if (const auto at = text.find(type); !type.empty() && at != std::string::npos)
      text.replace(at, type.size(), shown_type(type));
    constexpr std::size_t kMargin = 2;
    const std::size_t names = kMargin + option->get_name(false, true).size();
    if (names + text.size() > kWidth) {
      if (const auto comma = text.rfind(',', kWidth - names - 1); comma != std::string::npos)
        text.insert(comma + 1, "\n      ");
    }
    return text;
  }

  std::string make_subcommand(const CLI::App* command) const override {
    std::stringstream out;
    CLI::detail::format_help(out, command->get_display_name(true),
                             help_wrapped(command->get_description(), kWidth - column_width_),
                             column_width_);
    return out.str();
  }

  std::string make_description(const CLI::App* app) const override {
    return help_wrapped(CLI::Formatter::make_description(app), kWidth);
  }

  std::string make_footer(const CLI::App* app) const override {
    return help_wrapped(CLI::Formatter::make_footer(app), kWidth);
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_format() {
  return std::make_shared<HelpFormat>();
}

}  // namespace dsaperf::tool
