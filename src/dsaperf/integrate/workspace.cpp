#include "dsaperf/integrate/workspace.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/file.hpp"

#include <fmt/format.h>

#include <system_error>

namespace dsaperf::integrate {
namespace {

constexpr Bytes kMostDocument{std::int64_t{256} << 20};
constexpr int kVerdictNo = 3;  // done, and the answer is no: a document like any other

// What a command said of its failure.
std::string reason_of(const Ended& ended) {
  constexpr std::string_view kMark = "error: ";
  const auto found = ended.errors.rfind(kMark);
  if (found == std::string::npos) return fmt::format("exit code {}", ended.exit_code);
  const auto begin = found + kMark.size();
  return ended.errors.substr(begin, ended.errors.find('\n', begin) - begin);
}

Json cell_of(std::string_view text) {
  if (const auto number = parse_int(text)) return *number;
  if (const auto number = parse_double(text)) return *number;
  return text.empty() ? Json() : Json(std::string(text));
}

std::filesystem::path document_path(const Options& options, const std::string& name) {
  return options.directory / "documents" / (name + ".json");
}

State opened(const Options& options) {
  const auto file = options.directory / "state.json";
  std::error_code error;
  if (options.fresh) std::filesystem::remove(file, error);
  return {file, options.environment};
}

}  // namespace

Workspace::Workspace(const Options& options, CommandRunner& runner, const Watcher& watcher)
    : options_(options), runner_(runner), watcher_(watcher), state_(opened(options)) {
  evidence_ = {{"model", options.config},
               {"config", options.config},
               {"program", options.program},
               {"options",
                {{"systems", options.systems},
                 {"gpus", options.gpus},
                 {"isl", options.isl},
                 {"osl", options.osl},
                 {"ttft_limit_ms", options.ttft_limit_ms},
                 {"tpot_limit_ms", options.tpot_limit_ms},
                 {"device", options.gpu ? "gpu" : "cpu"},
                 {"reference", options.reference},
                 {"mock", options.mock}}},
               {"phases", Json::array()},
               {"documents", Json::object()}};
}

void Workspace::begin_phase(std::string_view name) {
  evidence_["phases"].push_back({{"name", name},
                                 {"state", "done"},
                                 {"seconds", 0.0},
                                 {"reason", ""},
                                 {"commands", Json::array()}});
  if (is_skipped()) {
    auto& phase = evidence_["phases"].back();
    phase["state"] = "skipped";
    phase["reason"] = "this phase was skipped";
  }
}

bool Workspace::is_skipped() const {
  const auto& phases = evidence_["phases"];
  return !phases.empty() &&
         options_.skipped.contains(phases.back()["name"].get_ref<const std::string&>());
}

void Workspace::end_phase() {
  auto& phase = evidence_["phases"].back();
  std::size_t reused = 0;
  for (const auto& command : phase["commands"]) reused += command["state"] == "reused";
  if (phase["state"] == "done" && reused > 0 && reused == phase["commands"].size()) {
    phase["state"] = "reused";
  }
}

Result<bool> Workspace::take(const Step& step, std::string_view state, double seconds,
                             const std::string& error) {
  auto& phase = evidence_["phases"].back();
  const auto line = "dsaperf " + shell_line(step.words);
  phase["commands"].push_back({{"name", step.name},
                               {"line", line},
                               {"state", error.empty() ? state : "failed"},
                               {"seconds", seconds},
                               {"error", error}});
  if (state != "reused") phase["seconds"] = phase["seconds"].get<double>() + seconds;
  const auto& name = phase["name"].get_ref<const std::string&>();
  if (!error.empty()) {
    phase["state"] = "failed";
    if (phase["reason"].get_ref<const std::string&>().empty()) phase["reason"] = error;
    const auto where = name == step.name ? name : fmt::format("{}: {}", name, step.name);
    outcome_.failures.push_back(fmt::format("{}: {}", where, error));
    return false;
  }
  const auto text = read_file(document_path(options_, step.name), kMostDocument);
  auto document = text ? Json::parse(*text, nullptr, false) : Json();
  if (!document.is_object()) return false;
  add_document(step.name, std::move(document));
  return true;
}

Result<bool> Workspace::step(const Step& step) {
  const auto file = document_path(options_, step.name);
  if (const auto* done = state_.find(step, file)) {
    ++outcome_.reused;
    return take(step, "reused", done->seconds, done->error);
  }
  if (is_skipped()) return false;
  if (watcher_) {
    watcher_(evidence_["phases"].back()["name"].get_ref<const std::string&>(),
             "dsaperf " + shell_line(step.words));
  }
  DSAPERF_TRY_ASSIGN(const auto ended, runner_.run(step.words));
  ++outcome_.done;
  std::string error;
  if (ended.exit_code != 0 && ended.exit_code != kVerdictNo) {
    error = reason_of(ended);
  } else if (!Json::accept(ended.output)) {
    error = "it printed no JSON document";
  }
  // A failure leaves no document: what an earlier run left there would pass for its answer.
  std::error_code ignored;
  if (error.empty()) {
    DSAPERF_TRY(write_file(file, ended.output));
  } else {
    std::filesystem::remove(file, ignored);
  }
  DSAPERF_TRY(state_.remember(step, file, ended.exit_code, ended.seconds, error));
  return take(step, "done", ended.seconds, error);
}

const Json& Workspace::document(std::string_view name) const {
  static const Json kNone;
  const auto found = documents_.find(name);
  return found == documents_.end() ? kNone : found->second;
}

void Workspace::add_document(const std::string& name, Json document) {
  documents_[name] = std::move(document);
}

Json Workspace::evidence() const {
  auto all = evidence_;
  for (const auto& [name, document] : documents_) all["documents"][name] = document;
  return all;
}

void Workspace::add_rows(const std::string& name, const std::filesystem::path& csv) {
  auto reader = CsvReader::open(csv);
  if (!reader) return;
  const auto has_header = reader->next();
  if (!has_header || !*has_header) return;
  std::vector<std::string> columns(reader->fields().begin(), reader->fields().end());
  auto rows = Json::array();
  while (true) {
    const auto more = reader->next();
    if (!more || !*more) break;
    auto row = Json::object();
    for (std::size_t i = 0; i < columns.size(); ++i) row[columns[i]] = cell_of(reader->field(i));
    rows.push_back(std::move(row));
  }
  add_document(name, {{"rows", std::move(rows)}});
}

}  // namespace dsaperf::integrate
