#include "dsaperf/cost/device_name.hpp"

#include "dsaperf/core/fail.hpp"

#include <string>

namespace dsaperf::cost {

bool is_called(const SystemSpec& card, std::string_view device_name) {
  const auto is_pcie = [](std::string_view name) { return name.find("PCIe") != name.npos; };
  if (is_pcie(card.device) != is_pcie(device_name)) return false;
  const auto words = device_name.substr(0, device_name.find(' ', device_name.find(' ') + 1));
  return card.device == words || card.device.starts_with(std::string(words) + " ");
}

Result<std::optional<SystemSpec>> card_called(const std::filesystem::path& data_dir,
                                              std::string_view device_name) {
  DSAPERF_TRY_ASSIGN(const auto names, system_names(data_dir));
  for (const auto& name : names) {
    DSAPERF_TRY_ASSIGN(auto system, find_system(data_dir, name));
    if (is_called(system, device_name)) return system;
  }
  return std::nullopt;
}

}  // namespace dsaperf::cost
