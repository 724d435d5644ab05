#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <system_error>

namespace dsaperf::predict::stages {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader =
    "hash,length_1,length_2,length_3,length_4,length_5,length_6,step_1,step_2,step_3,step_4,signal,"
    "noise,variance_1,width_1,variance_2,width_2,variance_3,width_3,heads_width,batch_width,"
    "new_width,past_width,edge_variance_1,edge_width_1,edge_variance_2,edge_width_2,"
    "edge_variance_3,edge_width_3,edge_heads_width,edge_batch_width,edge_new_width,"
    "edge_past_width,host_floor_ms,weights,defects,what\n";
constexpr std::size_t kNumbers = kMaxCoordinates + kStepAxes + 23;

// In the order of their columns.
std::array<double*, kNumbers> numbers_of(PartParameters& p) {
  std::array<double*, kNumbers> numbers{};
  std::size_t count = 0;
  for (auto& length : p.hyper.length) numbers[count++] = &length;
  for (auto& step : p.hyper.step) numbers[count++] = &step;
  numbers[count++] = &p.hyper.signal;
  numbers[count++] = &p.hyper.noise;
  for (auto* sort : {&p.calibration.body, &p.calibration.edge}) {
    for (auto& knot : sort->knots) {
      numbers[count++] = &knot.variance;
      numbers[count++] = &knot.width;
    }
    for (auto& width : sort->between) numbers[count++] = &width;
  }
  numbers[count] = &p.host_floor_ms;
  return numbers;
}

// The host's score_pieces and contexts, then the terms, by spaces; nothing where they are not
// known.
std::string weights_text(const StageWeights& weights) {
  if (weights.terms.empty()) return "";
  return fmt::format("{:.5g} {:.5g} {:.5g}", weights.score_pieces, weights.contexts,
                     fmt::join(weights.terms, " "));
}

std::optional<StageWeights> parse_weights(std::string_view text) {
  StageWeights weights;
  for (std::size_t i = 0; !text.empty(); ++i) {
    const auto end = std::min(text.find(' '), text.size());
    const auto number = parse_double(text.substr(0, end));
    if (!number || *number < 0) return std::nullopt;
    if (i == 0)
      weights.score_pieces = *number;
    else if (i == 1)
      weights.contexts = *number;
    else
      weights.terms.push_back(*number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return weights;
}

std::optional<std::uint64_t> parse_hash(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr std::string_view kFile = "parameters.csv";

fs::path find_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "dsaperf";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return fs::path(home) / ".cache/dsaperf";
  return {};
}

std::string what_of(const Part& part) {
  return fmt::format("{} {} cache {} {}{} {} {}", part.kind.architecture,
                     perfdb::name(part.setting.phase), part.kind.kv_dtype, part.kind.gemm_dtype,
                     part.shares_selection ? " shared" : "", part.kernel_source,
                     name(part.setting.regime));
}

}  // namespace

HyperparameterStore HyperparameterStore::open() {
  HyperparameterStore store;
  store.cache_ = find_cache_folder();
  if (!store.cache_.empty()) store.read(store.cache_ / kFile);
  if (const auto data = data_dir()) store.read(*data / "predict/parameters.csv");
  return store;
}

void HyperparameterStore::read(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  constexpr Bytes kMost{64 << 20};
  auto text = read_file(path, kMost);
  if (!text) return;
  texts_.push_back(std::make_shared<const std::string>(*std::move(text)));
  std::string_view rest = *texts_.back();
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (const auto hash = parse_hash(line.substr(0, line.find(',')))) lines_[*hash] = line;
  }
}

std::optional<HyperparameterStore::Entry> HyperparameterStore::parse(std::string_view line) {
  auto csv = CsvReader::over(line);
  if (!csv) return std::nullopt;
  const auto more = csv->next();
  if (!more || !*more || csv->fields().size() != kNumbers + 4) return std::nullopt;
  Entry entry;
  std::size_t column = 1;
  for (double* number : numbers_of(entry.parameters)) {
    const auto value = parse_double(csv->field(column++));
    if (!value) return std::nullopt;
    *number = *value;
  }
  auto weights = parse_weights(csv->field(column++));
  if (!weights || entry.parameters.hyper.signal <= 0) return std::nullopt;
  entry.parameters.weights = *std::move(weights);
  entry.defects = csv->field(column++);
  entry.what = csv->field(column);
  return entry;
}

HyperparameterStore::Entry* HyperparameterStore::find(std::uint64_t hash) {
  if (const auto line = lines_.find(hash); line != lines_.end()) {
    if (auto entry = parse(line->second)) known_[hash] = *std::move(entry);
    lines_.erase(line);
  }
  const auto found = known_.find(hash);
  return found == known_.end() ? nullptr : &found->second;
}

PartParameters HyperparameterStore::of(const Part& part,
                                       const std::function<void(const Part&)>& note) {
  if (auto* found = find(part.hash)) {
    if (found->defects.empty()) found->defects = part.defects;
    auto& parameters = found->parameters;
    if (parameters.weights.terms.size() != terms(part.setting.phase, part.setting.regime).size())
      parameters.weights = fit_weights(part.setting, part.observations, parameters.host_floor_ms);
    return parameters;
  }
  if (note) note(part);
  Entry fitted{.parameters = PartModel::fit(part.setting, part.observations, part.host_floor_ms),
               .defects = part.defects,
               .what = what_of(part)};
  auto& entry = known_[part.hash];
  entry = parse(line_of(part.hash, fitted)).value_or(fitted);
  ++fitted_;
  // A cache that cannot be written costs the next run the same fit, no more.
  if (!cache_.empty()) static_cast<void>(keep());
  return entry.parameters;
}

std::string_view HyperparameterStore::defects_of(const Part& part) {
  const auto* found = find(part.hash);
  return found == nullptr ? std::string_view() : std::string_view(found->defects);
}

std::string HyperparameterStore::line_of(std::uint64_t hash, const Entry& entry) {
  CsvWriter out;
  out.field(fmt::format("{:016x}", hash));
  auto parameters = entry.parameters;
  for (const double* number : numbers_of(parameters)) out.field(fmt::format("{:.4g}", *number));
  out.field(weights_text(entry.parameters.weights)).field(entry.defects).field(entry.what);
  out.end_row();
  return out.text();
}

void HyperparameterStore::parse_all() {
  while (!lines_.empty()) find(lines_.begin()->first);
}

Result<void> HyperparameterStore::keep() {
  parse_all();
  std::string text(kHeader);
  for (const auto& [hash, entry] : known_) text += line_of(hash, entry);
  return write_file(cache_ / kFile, text);
}

Result<HyperparameterStore::Written> HyperparameterStore::write(
    const fs::path& path, const std::set<std::uint64_t>& hashes) {
  parse_all();
  std::string text(kHeader);
  Written written;
  for (const auto& [hash, entry] : known_) {
    if (!hashes.contains(hash)) {
      ++written.left_out;
      continue;
    }
    text += line_of(hash, entry);
    ++written.lines;
  }
  DSAPERF_TRY(write_file(path, text));
  return written;
}

}  // namespace dsaperf::predict::stages
