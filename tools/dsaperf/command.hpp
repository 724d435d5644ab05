#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// Of CLI11, whose headers take a compiler ten seconds: command.cpp and help_format.cpp include
// them.
namespace CLI {  // NOLINT(readability-identifier-naming): its name
class App;
class Option;
}  // namespace CLI

namespace dsaperf::tool {

// What programs rely on (README, "Exit codes").
enum class ExitCode {
  kDone = 0,
  kFailed = 1,     // one line "error: ..." on stderr
  kUsage = 2,      // wrong flags
  kVerdictNo = 3,  // done, and the answer is no
};

// What a command does; main prints its error. Data goes to stdout, progress and warnings to stderr.
using Run = std::function<Result<ExitCode>()>;

// A flag or an argument of a command. A handle, valid as long as the command; what is said of it
// returns it, so that one expression declares it.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option required() const;
  Option one_of(const std::vector<std::string>& words) const;
  // T: int, std::int64_t or double.
  template <class T>
  Option between(T low, T high) const;
  Option positive() const;
  Option not_negative() const;
  // Of a double: a whole number of these.
  Option whole(std::int64_t low, std::int64_t high) const;
  // What is wrong with a value; empty: nothing.
  Option check(const std::function<std::string(const std::string& value)>& wrong) const;
  // A value that `parse` makes a Result of, which is not kept.
  template <class Parse>
  Option readable_by(Parse parse) const {
    return check([parse](const std::string& value) -> std::string {
      const auto parsed = parse(value);
      return parsed ? "" : parsed.error().message();
    });
  }

  Option needs(Option other) const;
  Option excludes(Option other) const;

  // Several values in one word.
  Option delimiter(char between) const;
  // Given several times, the last counts.
  Option take_last() const;

  // In help: what stands for the value, and the variable's value now as the default.
  Option type_name(const std::string& name) const;
  Option show_default() const;

  // Whether the command line that was parsed has it.
  bool given() const;

 private:
  CLI::Option* option_;
};

// The program, or a command of it. Each command has a function in the file of its name:
//   void declare_analyze(Command& command) {
//     auto options = std::make_shared<Options>();
//     command.add_option("--tp", options->tp, "Ranks that share the heads").show_default();
//     command.callback([options] { return analyze(*options); });
//   }
//   void add_analyze(Command& app) {
//     app.add_command("analyze", "What is sparse in a model", declare_analyze);
//   }
// It is called where the command is asked for or described, and not before: to declare the flags of
// every command was a quarter of the instructions of a run that refuses its flags.
class Command {
 public:
  using Declare = std::function<void(Command&)>;

  // The program itself.
  Command(const std::string& name, const std::string& description, const std::string& version);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() = default;

  Command& add_command(const std::string& name, const std::string& description, Declare declare);
  // Not shown in help: a command of ours, not for people.
  void hide();
  // It is nothing without one of its commands.
  void require_command();
  // The last words of its help.
  void footer(const std::string& text);

  // T: std::string, int, std::int64_t, std::uint64_t, double, std::optional of a string, int or
  // double, or std::vector of strings or int. What it is bound to must live until the command has
  // run. `names`: "-o,--output" of a flag, "CONFIG" of an argument.
  template <class T>
  Option add_option(const std::string& names, T& value, const std::string& description = "");
  Option add_flag(const std::string& names, bool& value, const std::string& description);
  // One that was added.
  Option option(const std::string& name) const;

  // Those of `names` that are given contradict `flag`, which has no use for them.
  Result<void> check_none_given(const std::string& flag,
                                const std::vector<std::string>& names) const;

  // What is wrong with the flags together; asked once all of them are read.
  void check(std::function<Result<void>()> check);
  void callback(Run run);

  // Of the program: the command that the words ask for; nullptr: they asked for help or the
  // version, which is printed. The error says in one line what is wrong with them.
  Result<const Command*> parse(int argc, const char* const* argv);
  Result<ExitCode> run() const { return run_(); }
  // Of a command that was parsed: whether --json was asked for.
  bool gives_document() const;

  // What help, manual pages and completion show.
  struct Entry {
    std::string argument;            // "CONFIG"; empty: a flag
    std::vector<std::string> names;  // "-o", "--output" of a flag
    std::string description;
    bool required = false;
    bool takes_value = false;
    std::string type;                  // "INT", "CONFIG"
    std::vector<std::string> choices;  // empty: not a choice of words
    std::string default_value;
  };
  std::vector<Entry> entries();
  // In the order in which they were added.
  const std::vector<std::unique_ptr<Command>>& commands();
  std::string name() const;
  std::string description() const;
  std::string footer();
  bool is_hidden() const;

 private:
  Command(std::shared_ptr<CLI::App> app, Declare declare);

  void declare_once();

  std::shared_ptr<CLI::App> app_;
  Declare declare_;  // empty: it has been called
  std::function<Result<void>()> check_;
  Run run_;
  std::vector<std::unique_ptr<Command>> commands_;
};

// What check() says of a flag that is not given: "--isl is required".
tl::unexpected<Error> missing(const std::string& name);

}  // namespace dsaperf::tool
