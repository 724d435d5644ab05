#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <filesystem>
#include <optional>
#include <string_view>

namespace dsaperf::cost {

// Whether a driver's name for its GPU is one of this card: "NVIDIA H100 80GB HBM3" is one of
// "NVIDIA H100 SXM", as both begin with the same two words and neither is a PCIe card.
bool is_called(const SystemSpec& card, std::string_view device_name);

// The card under data/systems that a driver calls so; nothing where none is.
Result<std::optional<SystemSpec>> card_called(const std::filesystem::path& data_dir,
                                              std::string_view device_name);

}  // namespace dsaperf::cost
