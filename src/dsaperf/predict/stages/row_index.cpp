#include "dsaperf/predict/stages/row_index.hpp"

#include <bit>

namespace dsaperf::predict::stages {
namespace {

std::uint64_t hash_of(const Sizes& z) {
  // Odd numbers without a pattern, so that sizes which differ in few bits do not meet.
  const auto mixed = std::bit_cast<std::uint64_t>(z.heads) * 0x9e3779b97f4a7c15U ^
                     std::bit_cast<std::uint64_t>(z.batch) * 0xc2b2ae3d27d4eb4fU ^
                     std::bit_cast<std::uint64_t>(z.new_tokens) * 0x165667b19e3779f9U ^
                     std::bit_cast<std::uint64_t>(z.past_tokens) * 0xd6e8feb86659fd93U;
  return (mixed ^ mixed >> 32U) * 0xff51afd7ed558ccdU;
}

bool equal(const Sizes& a, const Sizes& b) {
  return a.heads == b.heads && a.batch == b.batch && a.new_tokens == b.new_tokens &&
         a.past_tokens == b.past_tokens;
}

std::uint32_t tag_of(std::uint64_t hash) {
  return static_cast<std::uint32_t>(hash);
}

}  // namespace

RowIndex::RowIndex(std::span<const Observation> observations)
    : slots_(std::bit_ceil(2 * observations.size() + 1)) {
  for (std::size_t row = 0; row < observations.size(); ++row) {
    const auto hash = hash_of(observations[row].sizes);
    std::size_t at = (hash >> 32U) & (slots_.size() - 1);
    while (slots_[at].row_after != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {.tag = tag_of(hash), .row_after = static_cast<std::uint32_t>(row) + 1};
  }
}

std::optional<std::size_t> RowIndex::find(std::span<const Observation> observations,
                                          const Sizes& sizes) const {
  const auto hash = hash_of(sizes);
  std::size_t at = (hash >> 32U) & (slots_.size() - 1);
  for (; slots_[at].row_after != 0; at = (at + 1) & (slots_.size() - 1)) {
    const std::size_t row = slots_[at].row_after - 1;
    if (slots_[at].tag == tag_of(hash) && equal(observations[row].sizes, sizes)) return row;
  }
  return std::nullopt;
}

}  // namespace dsaperf::predict::stages
