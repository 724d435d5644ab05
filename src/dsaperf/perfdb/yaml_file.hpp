#pragma once

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <string>

namespace dsaperf::perfdb {

inline constexpr Bytes kLongestYaml{16 << 20};

// Hands the document to `use`; `path` is where it is from. yaml-cpp throws: everything that may
// throw is called in `use`, and fails with kParse here.
template <typename Use>
Result<void> with_yaml(const std::filesystem::path& path, const std::string& text, const Use& use) {
  try {
    use(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "{}: {}", path.native(), error.what());
  }
  return {};
}

// The same of a whole file.
template <typename Use>
Result<void> with_yaml_file(const std::filesystem::path& path, const Use& use) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLongestYaml));
  return with_yaml(path, text, use);
}

}  // namespace dsaperf::perfdb
