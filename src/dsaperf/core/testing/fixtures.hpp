#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

// For tests alone: where data of the outside world lies. Both are absent on a machine without
// them, and the test then skips:
//   const auto path = testing::fixture("configs/zai-org--GLM-5_config.json");
//   if (!path) GTEST_SKIP() << testing::kNoFixtures;
namespace dsaperf::testing {

inline constexpr std::string_view kNoFixtures =
    "no fixtures: set DSAPERF_FIXTURES to the folder that holds them";
inline constexpr std::string_view kNoSystems =
    "no AIConfigurator tables: set DSAPERF_SYSTEMS, or run scripts/setup";

inline std::optional<std::filesystem::path> existing(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return path;
  return std::nullopt;
}

// A file or folder of the fixtures: in $DSAPERF_FIXTURES, else in ../shared/fixtures of the source.
inline std::optional<std::filesystem::path> fixture(std::string_view name) {
  const char* named = std::getenv("DSAPERF_FIXTURES");
  const std::filesystem::path root =
      named != nullptr ? named : DSAPERF_SOURCE_DIR "/../shared/fixtures";
  return existing(root / name);
}

// The folder aiconfigurator_core of scripts/setup's Python environment.
inline std::optional<std::filesystem::path> aiconfigurator_core() {
  std::error_code ignored;
  for (const auto& python :
       std::filesystem::directory_iterator(DSAPERF_SOURCE_DIR "/build/venv/lib", ignored)) {
    if (auto found = existing(python.path() / "site-packages/aiconfigurator_core")) return found;
  }
  return std::nullopt;
}

// AIConfigurator's `systems` tree: $DSAPERF_SYSTEMS, else the one above.
inline std::optional<std::filesystem::path> systems_tree() {
  if (const char* named = std::getenv("DSAPERF_SYSTEMS")) return existing(named);
  const auto core = aiconfigurator_core();
  return core ? existing(*core / "systems") : std::nullopt;
}

}  // namespace dsaperf::testing
