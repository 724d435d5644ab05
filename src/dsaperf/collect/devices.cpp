#include "dsaperf/collect/devices.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>

namespace dsaperf::collect {
namespace {

std::vector<std::string> names(std::string_view list) {
  std::vector<std::string> result;
  while (!list.empty()) {
    const auto end = std::min(list.find(','), list.size());
    result.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return result;
}

// What is wrong with `asked` on any machine.
Result<std::vector<std::int64_t>> numbers_in(std::string_view asked) {
  std::vector<std::int64_t> numbers;
  for (const auto& text : names(asked)) {
    const auto number = parse_int(text);
    if (!number || *number < 0) {
      return fail(Errc::kInvalidArgument, "--devices {}: '{}' is no number of a GPU: all, or 0,2",
                  asked, text);
    }
    if (std::ranges::count(numbers, *number) != 0) {
      return fail(Errc::kInvalidArgument, "--devices {}: '{}' stands twice", asked, text);
    }
    numbers.push_back(*number);
  }
  if (numbers.empty()) return fail(Errc::kInvalidArgument, "--devices names no GPU");
  return numbers;
}

}  // namespace

Result<std::vector<std::string>> devices_to_use(std::string_view asked, std::string_view visible,
                                                int count) {
  const bool every_one = asked == "all";
  std::vector<std::int64_t> numbers;
  if (!every_one) {
    DSAPERF_TRY_ASSIGN(numbers, numbers_in(asked));
  }
  auto all = names(visible);
  for (int i = 0; visible.empty() && i < count; ++i) all.push_back(fmt::format("{}", i));
  if (all.empty()) {
    return fail(Errc::kNotFound,
                "--devices {}: no GPU is visible here; --plan-only lists the cases, --timing fake "
                "tries a collection without one",
                asked);
  }
  if (every_one) return all;
  std::vector<std::string> chosen;
  for (const auto number : numbers) {
    if (number >= static_cast<std::int64_t>(all.size())) {
      return fail(Errc::kInvalidArgument,
                  "--devices {}: '{}' is none of the {} visible GPUs, which are numbered from 0",
                  asked, number, all.size());
    }
    chosen.push_back(all[static_cast<std::size_t>(number)]);
  }
  return chosen;
}

}  // namespace dsaperf::collect
