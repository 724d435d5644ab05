#pragma once

#include "dsaperf/predict/stages/setting.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dsaperf::predict::stages {

// Which observation, if any, is of exactly some sizes: an open hash table with a word of each
// observation's hash beside its number, so that a question about sizes that were not measured looks
// at one place and no observation. The observations stay where they are and as they are.
class RowIndex {
 public:
  explicit RowIndex(std::span<const Observation> observations);

  std::optional<std::size_t> find(std::span<const Observation> observations,
                                  const Sizes& sizes) const;

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t row_after = 0;  // 0: empty
  };
  std::vector<Slot> slots_;  // a power of two, at least twice the observations
};

}  // namespace dsaperf::predict::stages
