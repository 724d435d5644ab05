#include "dsaperf/model/layer_runs.hpp"
#include "dsaperf/report/analyze.hpp"
#include "dsaperf/report/model_facts.hpp"

#include <nlohmann/json.hpp>

#include <string>

namespace dsaperf::report {
namespace {

using model::Analysis;
using nlohmann::ordered_json;

ordered_json document_of(const model::AttentionGeometry& g) {
  return {{"hidden", g.hidden},
          {"heads", g.heads},
          {"kv_heads", g.kv_heads},
          {"head_dim", g.head_dim},
          {"q_lora", g.q_lora},
          {"kv_lora", g.kv_lora},
          {"nope", g.nope},
          {"rope", g.rope},
          {"v", g.v},
          {"window", g.window},
          {"o_groups", g.o_groups},
          {"o_lora", g.o_lora},
          {"softmax_scale", g.softmax_scale}};
}

ordered_json document_of(const model::IndexerGeometry& indexer) {
  const bool interleaved = indexer.rope_pairing == model::RopePairing::kInterleaved;
  return {{"heads", indexer.heads},
          {"dim", indexer.dim},
          {"topk", indexer.topk},
          {"pool", indexer.pool},
          {"block", indexer.block},
          {"init_always", indexer.init_always},
          {"local_always", indexer.local_always},
          {"rope_pairing", interleaved ? "interleaved" : "half_split"}};
}

ordered_json formats_of(const model::LayerPlan& layer) {
  return {{"q_a", name(layer.formats.q_a)},
          {"kv_a", name(layer.formats.kv_a)},
          {"q_b", name(layer.formats.q_b)},
          {"kv_b", name(layer.formats.kv_b)},
          {"o", name(layer.formats.o)},
          {"indexer", name(layer.formats.indexer)},
          {"dense_mlp", name(layer.mlp_formats.dense)},
          {"routed_experts", name(layer.mlp_formats.experts)},
          {"shared_experts", name(layer.mlp_formats.shared)}};
}

ordered_json document_of(const model::LayerPlan& layer) {
  ordered_json document = {{"index", layer.index},
                           {"is_mtp", layer.is_mtp},
                           {"attention", name(layer.attention)},
                           {"indexer_role", name(layer.indexer_role)},
                           {"mlp", name(layer.mlp)},
                           {"compress_ratio", layer.compress_ratio},
                           {"kv_source", layer.kv_source},
                           {"uses_rope", layer.uses_rope},
                           {"geometry", document_of(layer.geometry)}};
  document["indexer"] = layer.indexer ? document_of(*layer.indexer) : ordered_json();
  document["formats"] = formats_of(layer);
  ordered_json stages = ordered_json::array();
  for (const auto stage : stages_of(layer, false)) stages.push_back(name(stage));
  document["stages"] = std::move(stages);
  return document;
}

ordered_json runs_of(const model::ModelSpec& spec) {
  ordered_json runs = ordered_json::array();
  for (const auto& run : layer_runs(spec)) {
    runs.push_back({{"first", run.first},
                    {"last", run.last},
                    {"count", run.count()},
                    {"is_mtp", run.pattern.front()->is_mtp},
                    {"attention", describe_attention(run)},
                    {"mlp", describe_mlp(run)},
                    {"period", run.pattern.size()}});
  }
  return runs;
}

ordered_json weights_of(const Analysis& analysis) {
  const auto& parallel = analysis.options.parallel;
  ordered_json parts = ordered_json::array();
  const auto row = [](const model::PartWeights& part) -> ordered_json {
    return {{"parameters", part.parameters},
            {"active_parameters", part.active_parameters},
            {"bytes", part.bytes.value},
            {"rank_bytes", part.rank_bytes.value}};
  };
  for (const auto& part : analysis.weights.parts) {
    ordered_json named = {{"part", name(part.part)}, {"is_mtp", part.is_mtp}};
    named.update(row(part));
    parts.push_back(std::move(named));
  }
  return {{"parallel",
           {{"tp", parallel.tp},
            {"dp", parallel.dp},
            {"ep", parallel.ep},
            {"moe_tp", parallel.moe_tp}}},
          {"approximate", analysis.weights.approximate},
          {"parts", std::move(parts)},
          {"total", row(total(analysis.weights, false))},
          {"total_with_mtp", row(total(analysis.weights, true))}};
}

ordered_json cache_of(const Analysis& analysis) {
  const auto& layer = typical_layer(analysis.spec);
  const auto format = [&](model::KvFormat kv, const model::ModelCache& main,
                          const model::ModelCache& mtp) -> ordered_json {
    const auto row = layer_cache(layer, kv, analysis.options.parallel.tp);
    return {{"layer_kv_bytes_per_token", row.kv_bytes_per_token()},
            {"layer_index_bytes_per_token", row.index_bytes_per_token()},
            {"kv_bytes_per_token", main.kv_bytes_per_token},
            {"index_bytes_per_token", main.index_bytes_per_token},
            {"mtp_kv_bytes_per_token", mtp.kv_bytes_per_token},
            {"mtp_index_bytes_per_token", mtp.index_bytes_per_token},
            {"total_bytes_per_token", main.kv_bytes_per_token + main.index_bytes_per_token +
                                          mtp.kv_bytes_per_token + mtp.index_bytes_per_token},
            {"window_bytes_per_request", main.window_bytes_per_request.value}};
  };
  const auto& spec = analysis.spec;
  return {{"checkpoint_kv", spec.kv_format ? ordered_json(name(*spec.kv_format)) : ordered_json()},
          {"bf16", format(model::KvFormat::kBf16, analysis.cache_bf16, analysis.mtp_cache_bf16)},
          {"fp8", format(model::KvFormat::kFp8, analysis.cache_fp8, analysis.mtp_cache_fp8)}};
}

ordered_json comparison_of(const model::NearestModel& other) {
  ordered_json groups = ordered_json::array();
  const auto& found = other.differences;
  for (std::size_t i = 0; i < found.size();) {
    ordered_json entries = ordered_json::array();
    const auto meaning = found[i].meaning;
    for (; i < found.size() && found[i].meaning == meaning; ++i) {
      entries.push_back(
          {{"what", found[i].what}, {"this", found[i].left}, {"other", found[i].right}});
    }
    groups.push_back({{"meaning", name(meaning)}, {"differences", std::move(entries)}});
  }
  return {{"name", other.name},
          {"verdict", verdict(other.differences, other.name)},
          {"groups", std::move(groups)}};
}

}  // namespace

ordered_json analyze_document(const Analysis& analysis) {
  const auto& spec = analysis.spec;
  ordered_json document = {{"format", "dsaperf.analyze.1"},
                           {"name", spec.name},
                           {"source", spec.source},
                           {"is_bundled", spec.is_bundled}};
  document["facts"] = model_facts(spec);
  document["layer_runs"] = runs_of(spec);
  ordered_json layers = ordered_json::array();
  for (const auto& layer : spec.layers) layers.push_back(document_of(layer));
  document["layers"] = std::move(layers);
  document["quantisation"] = {{"description", spec.quantisation},
                              {"lm_head", name(spec.lm_head)},
                              {"typical_layer", formats_of(typical_layer(spec))}};
  document["weights"] = weights_of(analysis);
  document["cache"] = cache_of(analysis);
  const auto& aic = analysis.aiconfigurator;
  document["aiconfigurator"] = {{"architecture", aic.architecture},
                                {"family", aic.family},
                                {"exact", aic.exact},
                                {"context_operations", aic.context_operations},
                                {"generation_operations", aic.generation_operations},
                                {"needs", aic.needs},
                                {"notes", aic.notes}};
  document["kernels"] = {{"run", analysis.kernels.runs},
                         {"architecture", model::kKernelArchitecture},
                         {"cards", model::kKernelCards},
                         {"reasons", analysis.kernels.reasons},
                         {"works_everywhere", model::works_everywhere()}};
  document["score_buffer"] = nullptr;
  if (const auto& scores = analysis.score_buffer) {
    document["score_buffer"] = {{"chunk_tokens", scores->chunk},
                                {"context_tokens", scores->context},
                                {"bytes", scores->bytes.value},
                                {"budget_bytes", scores->budget.value},
                                {"chunk_tokens_within_budget", scores->chunk_within_budget}};
  }
  document["nearest"] = analysis.nearest ? comparison_of(*analysis.nearest) : ordered_json();
  document["against"] = analysis.against ? comparison_of(*analysis.against) : ordered_json();
  document["warnings"] = spec.warnings;
  return document;
}

}  // namespace dsaperf::report
