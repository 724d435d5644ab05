#pragma once

#include "dsaperf/model/model_spec.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// What a difference means for an op that runs the other model, gravest first.
enum class DifferenceMeaning {
  kMethod,       // selects in another way: another list of stages
  kKernelShape,  // the same stages, other kernel variants
  kCacheRow,     // rows of the cache or of the index keys have another size
  kLayerMix,     // the same layers in another number or order
  kStorage,      // weights or cache are stored in another format
  kNumber,       // a size or constant that the op takes as it comes
};
inline constexpr int kDifferenceMeaningCount = 6;
std::string_view name(DifferenceMeaning meaning);
// "other kernel shape", ...
std::string_view title(DifferenceMeaning meaning);

struct Difference {
  DifferenceMeaning meaning = DifferenceMeaning::kNumber;
  std::string what;
  std::string left;
  std::string right;
};

// Sorted by meaning. Compares the layers that stand for each model's attention, how many layers of
// each sort there are and where, formats, and sizes.
std::vector<Difference> differences(const ModelSpec& left, const ModelSpec& right);

// One sentence: whether an integration of `right` carries `left`.
std::string verdict(const std::vector<Difference>& found, std::string_view right_name);

struct NearestModel {
  std::string name;
  std::vector<Difference> differences;
};

// The one of `known` with the fewest and least grave differences; the model itself, where it is one
// of the bundled ones, is left out. Nothing where `known` is empty.
std::optional<NearestModel> nearest_model(const ModelSpec& spec, std::span<const ModelSpec> known);

}  // namespace dsaperf::model
