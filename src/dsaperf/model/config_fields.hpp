#pragma once

#include "dsaperf/core/error.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// What reading a config found wrong: the first error stops the load when reading is over, warnings
// go with the ModelSpec. So a reader asks for one field after the other and checks once.
struct ConfigProblems {
  std::optional<Error> error;
  std::vector<std::string> warnings;

  void fail_at(std::string_view path, std::string message);
  void warn(std::string message);
};

// Fields of one JSON object. A field that is absent or null is nothing; one of the wrong type or
// out of range is an error at its JSON path ("text_config.index_topk").
//
// Of several names the first that is present counts. What the object lacks is looked for in
// `outer`: in multimodal configs some fields stand in text_config, some beside it.
class ConfigFields {
 public:
  ConfigFields(const nlohmann::json& object, std::string path, ConfigProblems& problems,
               const ConfigFields* outer = nullptr);

  using Names = std::initializer_list<std::string_view>;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The key is there, be it with null.
  bool mentions(std::string_view name) const;
  std::optional<int> integer(Names names, int min = 0, int max = kMaxInteger) const;
  std::optional<std::int64_t> long_integer(Names names) const;
  std::optional<double> number(Names names) const;
  std::optional<bool> flag(Names names) const;
  std::optional<std::string> text(Names names) const;
  std::optional<std::vector<int>> integers(Names names) const;
  std::optional<std::vector<std::string>> texts(Names names) const;
  std::optional<ConfigFields> object(std::string_view name) const;
  // True for a list, of whatever.
  bool is_list(std::string_view name) const;

  // An integer that must be there; `why` ends the message of its absence.
  int required(Names names, std::string_view why, int min = 1, int max = kMaxInteger) const;

  const nlohmann::json* find(std::string_view name) const;
  std::string path_of(std::string_view name) const;
  ConfigProblems& problems() const { return *problems_; }
  const nlohmann::json& raw() const { return *object_; }

  // Larger sizes than any model's, small enough that byte counts stay within 63 bits.
  static constexpr int kMaxInteger = 1 << 30;

 private:
  struct Found {
    const nlohmann::json* value = nullptr;
    std::string path;
  };
  Found first_of(Names names) const;
  std::optional<std::int64_t> whole(const Found& found, std::int64_t min, std::int64_t max) const;

  const nlohmann::json* object_;
  std::string path_;
  ConfigProblems* problems_;
  const ConfigFields* outer_;
};

// A short form of a value for messages: never more than a few words, whatever the file holds.
std::string excerpt(const nlohmann::json& value);

}  // namespace dsaperf::model
