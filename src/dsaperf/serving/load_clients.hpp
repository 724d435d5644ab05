#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/deployment.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::serving {

// The client of a public load test, where more is known of it than the rows of its results say.
struct LoadClient {
  std::string source;                  // what the source of its rows starts with
  std::optional<double> length_ratio;  // as of EstimateInputs; 1: equal lengths
  // Numbers of requests at a time that it ran with one after the other, ascending, and prompts of
  // each. Where they are said, every run makes its prompts from the same seed, so that the first of
  // a run are those of the run before.
  std::vector<int> places_of_runs;
  int prompts_a_place = 0;
  std::optional<Engine> cached_by;  // the engine whose server still has them

  // Of the run before the one with so many; 0 for the first, and for what is no run of this client.
  int places_before(double places) const;
};

// data/serving/clients.csv. Fails where it is missing or damaged.
Result<std::vector<LoadClient>> load_clients();
// A file with its columns: source, length_ratio, places_of_runs ("4 8 16"), prompts_a_place,
// cached_by; all but the first may be empty, the last three only together.
Result<std::vector<LoadClient>> load_clients(const std::filesystem::path& path);

// A field of a file, and where it stands.
struct FileField {
  const std::filesystem::path& path;
  std::size_t line;
  std::string_view column, text;
};
// Nothing where the field is empty; fails, by file, line and column, where it is no such value: a
// length ratio, or a count of at least `least` requests.
Result<std::optional<double>> read_length_ratio(const FileField& field);
Result<std::optional<int>> read_requests(const FileField& field, int least);

}  // namespace dsaperf::serving
