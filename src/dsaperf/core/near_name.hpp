#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf {

// Insertions, deletions and replacements of letters that turn one word into the other.
std::size_t edit_distance(std::string_view from, std::string_view to);

// The one of `known` that `word` was meant for: the only one that begins with it ("h200" of
// "h200_sxm"), else the nearest, of which at most a third of the letters differ.
std::optional<std::string_view> near_name(std::string_view word,
                                          std::span<const std::string> known);

// For the end of an error: "; did you mean 'h200_sxm'?", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace dsaperf
