// A config.json of any bytes, alone and with itself as hf_quant_config.json: a model or one error,
// and what is derived from a model that was accepted stays in range.

#include "dsaperf/model/analysis.hpp"
#include "dsaperf/model/layer_runs.hpp"
#include "dsaperf/model/load_model.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(dsaperf::model::ModelSpec spec) {
  using namespace dsaperf::model;
  require(!spec.layers.empty());
  int covered = 0;
  for (const auto& run : layer_runs(spec)) {
    covered += run.count();
    require(!describe_attention(run).empty() && !describe_mlp(run).empty());
  }
  require(covered == static_cast<int>(spec.layers.size()));
  for (const auto& layer : spec.layers) {
    require(layer.indexer.has_value() == (layer.indexer_role != IndexerRole::kNone));
    (void)stages_of(layer, false);
    (void)stages_of(layer, true);
  }
  require(differences(spec, spec).empty());
  const auto analysis = analyse(std::move(spec), {}, {});
  require(analysis.has_value());  // on one rank everything divides
  const auto sum = total(analysis->weights, true);
  require(sum.parameters >= 0 && sum.bytes.value >= 0);
  require(sum.rank_bytes.value <= sum.bytes.value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string_view quant : {std::string_view(), text}) {
    auto model = dsaperf::model::parse_model(text, quant, "input");
    if (model) {
      check(*std::move(model));
    } else {
      require(!model.error().message().empty());
    }
  }
  return 0;
}
