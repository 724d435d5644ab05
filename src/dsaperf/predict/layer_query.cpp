#include "dsaperf/predict/layer_query.hpp"

namespace dsaperf::predict {

std::string_view name(Source source) {
  switch (source) {
    case Source::kMeasured:
      return "measured";
    case Source::kInterpolated:
      return "interpolated";
    case Source::kExtrapolated:
      return "extrapolated";
    case Source::kModelled:
      return "modelled";
    case Source::kBound:
      break;
  }
  return "bound";
}

}  // namespace dsaperf::predict
