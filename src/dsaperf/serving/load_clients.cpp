#include "dsaperf/serving/load_clients.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/csv_numbers.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/estimate.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace dsaperf::serving {
namespace {

constexpr std::array<std::string_view, 5> kColumns = {"source", "length_ratio", "places_of_runs",
                                                      "prompts_a_place", "cached_by"};

// "4 8 16": ascending.
Result<std::vector<int>> read_places(const FileField& field) {
  std::vector<int> places;
  std::string_view rest = field.text;
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.empty()) return places;
    const auto word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(word.size());
    DSAPERF_TRY_ASSIGN(const auto count,
                       read_requests({field.path, field.line, field.column, word}, 1));
    if (!places.empty() && *count <= places.back())
      return fail(Errc::kParse, "{}:{}: {} '{}': each is to be more than the one before",
                  field.path.native(), field.line, field.column, field.text);
    places.push_back(*count);
  }
}

Result<LoadClient> read_client(const std::filesystem::path& path, const NumberRow& row) {
  const auto field = [&](std::size_t i) {
    return FileField{.path = path, .line = row.line, .column = kColumns[i], .text = row.words[i]};
  };
  LoadClient client{.source = row.words[0],
                    .length_ratio = {},
                    .places_of_runs = {},
                    .prompts_a_place = 0,
                    .cached_by = {}};
  if (client.source.empty())
    return fail(Errc::kParse,
                "{}:{}: source '': what the source of a client's rows starts with is due",
                path.native(), row.line);
  DSAPERF_TRY_ASSIGN(client.length_ratio, read_length_ratio(field(1)));
  DSAPERF_TRY_ASSIGN(client.places_of_runs, read_places(field(2)));
  DSAPERF_TRY_ASSIGN(const auto prompts, read_requests(field(3), 1));
  client.prompts_a_place = prompts.value_or(0);
  if (!row.words[4].empty()) {
    const auto engine = engine_from_name(row.words[4]);
    if (!engine)
      return fail(Errc::kParse, "{}:{}: cached_by: {}", path.native(), row.line,
                  engine.error().message());
    client.cached_by = *engine;
  }
  const bool has_runs = !client.places_of_runs.empty();
  if (prompts.has_value() != has_runs || client.cached_by.has_value() != has_runs)
    return fail(Errc::kParse,
                "{}:{}: places_of_runs, prompts_a_place and cached_by are to be said together",
                path.native(), row.line);
  return client;
}

}  // namespace

int LoadClient::places_before(double places) const {
  const auto run = std::ranges::find(places_of_runs, places);
  return run == places_of_runs.begin() || run == places_of_runs.end() ? 0 : *std::prev(run);
}

Result<std::vector<LoadClient>> load_clients() {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  return load_clients(data / "serving" / "clients.csv");
}

Result<std::vector<LoadClient>> load_clients(const std::filesystem::path& path) {
  DSAPERF_TRY_ASSIGN(const auto rows, read_number_rows(path, kColumns, {}));
  std::vector<LoadClient> clients;
  for (const NumberRow& row : rows) {
    DSAPERF_TRY_ASSIGN(auto client, read_client(path, row));
    clients.push_back(std::move(client));
  }
  return clients;
}

Result<std::optional<double>> read_length_ratio(const FileField& field) {
  if (field.text.empty()) return std::nullopt;
  const auto value = parse_double(field.text);
  const bool is_share = value && *value >= kLeastLengthRatio && *value <= 1;
  if (!is_share)
    return fail(Errc::kParse, "{}:{}: {} '{}': a number from {} to 1 is due, or nothing",
                field.path.native(), field.line, field.column, field.text, kLeastLengthRatio);
  return value;
}

Result<std::optional<int>> read_requests(const FileField& field, int least) {
  if (field.text.empty()) return std::nullopt;
  const auto value = parse_int(field.text);
  if (!value || *value < least || *value > kMostRequests)
    return fail(Errc::kParse, "{}:{}: {} '{}': a whole number from {} to {} is due, or nothing",
                field.path.native(), field.line, field.column, field.text, least, kMostRequests);
  return static_cast<int>(*value);
}

}  // namespace dsaperf::serving
