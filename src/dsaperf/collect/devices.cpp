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

}  // namespace

Result<std::vector<std::string>> devices_to_use(std::string_view asked, std::string_view visible,
                                                int count) {
  auto all = names(visible);
  for (int i = 0; visible.empty() && i < count; ++i) all.push_back(fmt::format("{}", i));
  if (all.empty()) {
    return fail(Errc::kNotFound,
                "--devices {}: no GPU is visible here; --plan-only lists the cases, --timing fake "
                "tries a collection without one",
                asked);
  }
  if (asked == "all") return all;
  std::vector<std::string> chosen;
  for (const auto& text : names(asked)) {
    const auto number = parse_int(text);
    if (!number || *number < 0 || *number >= static_cast<std::int64_t>(all.size())) {
      return fail(Errc::kInvalidArgument,
                  "--devices {}: '{}' is none of the {} visible GPUs, which are numbered from 0",
                  asked, text, all.size());
    }
    const auto& device = all[static_cast<std::size_t>(*number)];
    if (std::ranges::count(chosen, device) != 0) {
      return fail(Errc::kInvalidArgument, "--devices {}: '{}' stands twice", asked, text);
    }
    chosen.push_back(device);
  }
  if (chosen.empty()) return fail(Errc::kInvalidArgument, "--devices names no GPU");
  return chosen;
}

}  // namespace dsaperf::collect
