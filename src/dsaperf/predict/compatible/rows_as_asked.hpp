#pragma once

#include "dsaperf/core/error.hpp"

#include <optional>

namespace dsaperf::predict::compatible {

// A table that is asked for the rows of one choice after another. Most commands ask for one, and
// most of a table is about others: the first question reads its own rows, the second all of them,
// for those to come.
template <typename Table, typename Choice>
class RowsAsAsked {
 public:
  // A table that holds the choice's rows, and maybe others; until the next question. `load` gets
  // the choice to read, empty for all; where it fails, it is not tried again.
  template <typename Load>
  Result<const Table*> of(const Choice& choice, const Load& load) {
    if (!read_ || (only_ && !(*only_ == choice))) {
      only_ = read_ ? std::nullopt : std::optional(choice);
      read_ = load(only_);
    }
    if (!*read_) return tl::unexpected(read_->error());
    return &**read_;
  }

 private:
  std::optional<Result<Table>> read_;
  std::optional<Choice> only_;  // empty: all rows were asked for
};

}  // namespace dsaperf::predict::compatible
