#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf {

// Insertions, deletions and replacements of letters that turn one word into the other.
std::size_t edit_distance(std::string_view from, std::string_view to);

// The one of `known` that `asked` was meant for, in whatever case: the only one that begins with it
// ("H200" of "h200_sxm", but not "h20", which is another number), else the nearest, of which at
// most a third of the letters differ.
std::optional<std::string_view> near_name(std::string_view asked,
                                          std::span<const std::string> known);

// For the end of an error: "; did you mean 'h200_sxm'?", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace dsaperf
