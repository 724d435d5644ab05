#include "command.hpp"

#include "dsaperf/core/fail.hpp"
#include "help_format.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dsaperf::tool {
namespace {

// "dsaperf db ls": the words that lead to the command that was parsed.
std::string path_of(const CLI::App& program) {
  std::string path = program.get_name();
  for (const CLI::App* current = &program; !current->get_subcommands().empty();) {
    current = current->get_subcommands().front();
    path += " " + current->get_name();
  }
  return path;
}

auto wrong_usage(const std::string& what, const CLI::App& program) {
  return fail(Errc::kInvalidArgument, "{} (see {} --help)", what, path_of(program));
}

// CLI11 describes a choice as "TEXT:{agg,static}".
std::vector<std::string> choices_of(const std::string& type) {
  const auto open = type.find('{');
  const auto close = type.find('}', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

Command::Entry entry_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  Command::Entry entry{.argument = option.get_positional() ? option.get_name(true) : "",
                       .names = {},
                       .description = option.get_description(),
                       .required = option.get_required(),
                       .takes_value = option.get_items_expected_max() > 0,
                       .type = type.substr(0, type.find(':')),
                       .choices = choices_of(type),
                       .default_value = option.get_default_str()};
  for (const auto& name : option.get_snames()) entry.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) entry.names.push_back("--" + name);
  return entry;
}

// Says of a number that is not a `right` one what is `wrong` with it.
auto unless(bool (*right)(double), const char* wrong) {
  return [right, wrong](const std::string& text) -> std::string {
    double value = 0;
    CLI::detail::lexical_cast(text, value);
    return right(value) ? "" : text + ' ' + wrong;
  };
}

// What is wrong with `text` as a T. CLI11 takes NaN and infinity for numbers, clips an integer
// beyond 64 bits to the largest, and has -1 for the largest where there is no sign.
template <class T>
std::string wrong_number(const std::string& text) {
  using CLI::detail::lexical_cast;
  if constexpr (std::is_floating_point_v<T>) {
    T value = 0;
    return lexical_cast(text, value) && std::isfinite(value) ? "" : text + " is no number";
  } else {
    std::int64_t clipped = 0;
    if (!lexical_cast(text, clipped)) return text + " is no integer";
    if (std::is_unsigned_v<T> && clipped < 0) return text + " is less than 0";
    T value = 0;
    errno = 0;  // set by strtoll, which is underneath
    if (lexical_cast(text, value) && errno != ERANGE) return "";
    return clipped < 0 ? fmt::format("{} is less than {}", text, std::numeric_limits<T>::min())
                       : fmt::format("{} is more than {}", text, std::numeric_limits<T>::max());
  }
}

// Of a value that may be absent, or of one of several, the value.
template <class T>
struct Element {
  using Type = T;
};
template <class T>
struct Element<std::optional<T>> {
  using Type = T;
};
template <class T>
struct Element<std::vector<T>> {
  using Type = T;
};

}  // namespace

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::one_of(const std::vector<std::string>& words) const {
  option_->check(CLI::IsMember(words));
  return *this;
}

template <class T>
Option Option::between(T low, T high) const {
  // CLI11's own writes 0.5 as 0.500000.
  option_->check(
      [low, high](const std::string& text) -> std::string {
        T value{};
        CLI::detail::lexical_cast(text, value);
        if (value >= low && value <= high) return "";
        return fmt::format("Value {} not in range {} to {}", text, low, high);
      },
      fmt::format("{} in [{} - {}]", std::is_floating_point_v<T> ? "FLOAT" : "INT", low, high));
  return *this;
}
template Option Option::between(int, int) const;
template Option Option::between(std::int64_t, std::int64_t) const;
template Option Option::between(double, double) const;

Option Option::positive() const {
  option_->check(unless([](double value) { return value > 0; }, "is not above 0"), "POSITIVE");
  return *this;
}

Option Option::not_negative() const {
  option_->check(unless([](double value) { return value >= 0; }, "is less than 0"), "NONNEGATIVE");
  return *this;
}

Option Option::whole(std::int64_t low, std::int64_t high) const {
  const auto range = fmt::format("INT in [{} - {}]", low, high);
  option_->type_name("INT");
  option_->check(
      [low, high](const std::string& text) -> std::string {
        double value = 0;
        CLI::detail::lexical_cast(text, value);
        const bool is_one = value == std::floor(value) && value >= static_cast<double>(low) &&
                            value <= static_cast<double>(high);
        return is_one ? "" : fmt::format("{} is no integer from {} to {}", text, low, high);
      },
      range);
  return *this;
}

Option Option::check(const std::function<std::string(const std::string& value)>& wrong) const {
  option_->check(wrong);
  return *this;
}

Option Option::needs(Option other) const {
  option_->needs(other.option_);
  return *this;
}

Option Option::excludes(Option other) const {
  option_->excludes(other.option_);
  return *this;
}

Option Option::delimiter(char between) const {
  option_->delimiter(between);
  return *this;
}

Option Option::take_last() const {
  option_->take_last();
  return *this;
}

Option Option::type_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::show_default() const {
  option_->capture_default_str();
  return *this;
}

bool Option::given() const {
  return option_->count() > 0;
}

Command::Command(const std::string& name, const std::string& description,
                 const std::string& version)
    : app_(std::make_shared<CLI::App>(description, name)) {
  app_->formatter(help_format());  // commands take it over as they are added
  app_->set_version_flag("--version", version);
}

Command::Command(std::shared_ptr<CLI::App> app, Declare declare)
    : app_(std::move(app)), declare_(std::move(declare)) {
  app_->preparse_callback([this](std::size_t) { declare_once(); });
}

void Command::declare_once() {
  if (const auto declare = std::exchange(declare_, nullptr)) declare(*this);
}

Command& Command::add_command(const std::string& name, const std::string& description,
                              Declare declare) {
  app_->require_subcommand(app_->get_require_subcommand_min(), 1);
  auto app = app_->get_subcommand_ptr(app_->add_subcommand(name, description));
  commands_.emplace_back(new Command(std::move(app), std::move(declare)));
  return *commands_.back();
}

void Command::hide() {
  app_->group("");
}

void Command::require_command() {
  app_->require_subcommand(1);
}

void Command::footer(const std::string& text) {
  app_->footer(text);
}

template <class T>
Option Command::add_option(const std::string& names, T& value, const std::string& description) {
  const Option option(app_->add_option(names, value, description));
  using Value = typename Element<T>::Type;
  if constexpr (std::is_arithmetic_v<Value>) option.check(wrong_number<Value>);
  return option;
}
template Option Command::add_option(const std::string&, std::string&, const std::string&);
template Option Command::add_option(const std::string&, int&, const std::string&);
template Option Command::add_option(const std::string&, std::int64_t&, const std::string&);
template Option Command::add_option(const std::string&, std::uint64_t&, const std::string&);
template Option Command::add_option(const std::string&, double&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<int>&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<double>&, const std::string&);
template Option Command::add_option(const std::string&, std::optional<std::string>&,
                                    const std::string&);
template Option Command::add_option(const std::string&, std::vector<int>&, const std::string&);
template Option Command::add_option(const std::string&, std::vector<std::string>&,
                                    const std::string&);

Option Command::add_flag(const std::string& names, bool& value, const std::string& description) {
  return Option(app_->add_flag(names, value, description));
}

Option Command::option(const std::string& name) const {
  return Option(app_->get_option(name));
}

Result<void> Command::check_none_given(const std::string& flag,
                                       const std::vector<std::string>& names) const {
  for (const auto& name : names)
    if (option(name).given())
      return fail(Errc::kInvalidArgument, "{} has no use for {}", flag, name);
  return {};
}

void Command::check(std::function<Result<void>()> check) {
  check_ = std::move(check);
}

void Command::callback(Run run) {
  run_ = std::move(run);
}

Result<const Command*> Command::parse(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.what() == std::string_view("A subcommand is required"))
      return fail(Errc::kInvalidArgument, "which command? {} --help lists them", path_of(*app_));
    if (error.get_exit_code() != 0) return wrong_usage(error.what(), *app_);
    app_->exit(error);  // --help, --version
    return nullptr;
  }
  const Command* asked = this;
  for (auto parsed = app_->get_subcommands(); !parsed.empty();
       parsed = asked->app_->get_subcommands()) {
    asked = std::find_if(asked->commands_.begin(), asked->commands_.end(), [&](const auto& each) {
              return each->app_.get() == parsed.front();
            })->get();
  }
  if (asked->check_) {
    if (const auto checked = asked->check_(); !checked)
      return wrong_usage(checked.error().message(), *app_);
  }
  return asked;
}

bool Command::gives_document() const {
  const auto* option = app_->get_option_no_throw("--json");
  return option != nullptr && option->count() > 0;
}

std::vector<Command::Entry> Command::entries() {
  declare_once();
  std::vector<Entry> entries;
  for (const CLI::Option* option : std::as_const(*app_).get_options())
    entries.push_back(entry_of(*option));
  return entries;
}

const std::vector<std::unique_ptr<Command>>& Command::commands() {
  declare_once();
  return commands_;
}

std::string Command::name() const {
  return app_->get_name();
}

std::string Command::description() const {
  return app_->get_description();
}

std::string Command::footer() {
  declare_once();
  return app_->get_footer();
}

bool Command::is_hidden() const {
  return app_->get_group().empty();
}

tl::unexpected<Error> missing(const std::string& name) {
  return fail(Errc::kInvalidArgument, "{} is required", name);
}

}  // namespace dsaperf::tool
