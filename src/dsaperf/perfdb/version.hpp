#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// A version as Python packages order them (PEP 440): 0.5.9 < 0.5.14, 1.3.0rc10 < 1.3.0rc20 < 1.3.0,
// 0.5.6 < 0.5.6.post2, 0.1.dev19262 < 0.1, 0.5.14 < 0.5.14+dsaperf.1. Ordering text is wrong.
class Version {
 public:
  // Empty for a name that is no version ("dsaperf-0.1.0").
  static std::optional<Version> parse(std::string_view text);

  std::weak_ordering operator<=>(const Version& other) const;
  bool operator==(const Version& other) const { return (*this <=> other) == 0; }

 private:
  std::int64_t epoch_ = 0;
  std::vector<std::int64_t> release_;  // trailing zeros dropped
  int pre_kind_ = 3;                   // -1 dev release of none, 0 a, 1 b, 2 rc, 3 final
  std::int64_t pre_ = 0;
  std::int64_t post_ = -1;
  std::int64_t dev_ = INT64_MAX;  // none sorts after every dev release
  std::vector<std::string> local_;
};

// Of names of folders: a name that is no version is less than all that are.
bool version_less(const std::string& a, const std::string& b);

}  // namespace dsaperf::perfdb
