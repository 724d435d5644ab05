// A config.json of any bytes, alone and with itself as hf_quant_config.json: a model or one error,
// and what is derived from a model that was accepted stays in range.

#include "dsaperf/model/layer_plan.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string_view quant : {std::string_view(), text}) {
    const auto model = dsaperf::model::parse_model(text, quant, "input");
    if (!model) {
      if (model.error().message().empty()) std::abort();
      continue;
    }
    for (const auto& layer : model->layers) {
      (void)dsaperf::model::stages_of(layer, false);
      (void)dsaperf::model::stages_of(layer, true);
    }
  }
  return 0;
}
