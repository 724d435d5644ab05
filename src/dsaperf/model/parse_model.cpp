#include "dsaperf/model/attention_layers.hpp"
#include "dsaperf/model/config_document.hpp"
#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/layer_geometry.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/model/mlp_layers.hpp"
#include "dsaperf/model/quantisation.hpp"
#include "dsaperf/model/sparse_names.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace dsaperf::model {
namespace {

using nlohmann::json;

// Where multimodal configs keep the language model.
constexpr std::array kNestedNames = {"text_config", "llm_config", "language_config"};

std::string_view nested_name(const json& document) {
  for (const auto* name : kNestedNames) {
    const auto found = document.find(name);
    if (found != document.end() && found->is_object()) return name;
  }
  return {};
}

void read_names(const ConfigFields& outer, const ConfigFields& fields, ModelSpec& spec) {
  spec.model_type = outer.text({"model_type"}).value_or(fields.text({"model_type"}).value_or(""));
  const auto architectures = outer.texts({"architectures"});
  if (architectures && !architectures->empty()) spec.architecture = architectures->front();
}

void read_sizes(const ConfigFields& fields, ModelSpec& spec) {
  const std::string_view why = "every model has it";
  // More layers than any model: LayerPlans are made for each.
  constexpr int kMaxLayers = 1000;
  // Nemotron-H may leave the number to its list.
  const auto blocks = block_types(fields);
  if (blocks && !fields.has("num_hidden_layers") && !blocks->empty() &&
      blocks->size() <= kMaxLayers) {
    spec.main_layers = static_cast<int>(blocks->size());
  } else {
    spec.main_layers =
        fields.required({"num_hidden_layers", "num_layers", "n_layers"}, why, 1, kMaxLayers);
  }
  // LongCat as transformers writes it: num_hidden_layers counts the blocks.
  if (has_two_blocks(fields)) {
    spec.main_layers = fields.required({"num_layers"}, why, 1, kMaxLayers);
  }
  spec.hidden = fields.required({"hidden_size"}, why, 1, 1 << 17);
  spec.heads = fields.required({"num_attention_heads"}, why, 1, 1 << 12);
  spec.vocab = fields.integer({"vocab_size"}, 0, 1 << 27).value_or(0);
  if (spec.vocab == 0) {
    fields.problems().warn("vocab_size is missing: embedding and output head are not counted");
  }
  auto& facts = spec.facts;
  facts.max_positions = fields.long_integer({"max_position_embeddings"});
  spec.max_positions = facts.max_positions.value_or(0);
  facts.mtp_layers = fields.integer({"num_nextn_predict_layers", "num_mtp_modules",
                                     "mtp_num_layers", "mtp_num_hidden_layers", "num_mtp_layers"},
                                    0, 64);
  spec.mtp_layers = facts.mtp_layers.value_or(0);
  spec.rms_eps =
      fields.number({"rms_norm_eps", "layernorm_epsilon", "layer_norm_epsilon"}).value_or(1e-6);
  spec.tied_embeddings = fields.flag({"tie_word_embeddings"}).value_or(false);
}

void read_rope(const ConfigFields& fields, ModelSpec& spec) {
  auto& rope = spec.rope;
  const auto read = [&rope](const ConfigFields& from) {
    rope.theta = from.number({"rope_theta"}).value_or(rope.theta);
    rope.type = from.text({"rope_type", "type"}).value_or(rope.type);
    rope.factor = from.number({"factor"}).value_or(rope.factor);
    rope.original_max_positions = from.number({"original_max_position_embeddings"}).value_or(0);
    rope.beta_fast = from.number({"beta_fast"}).value_or(rope.beta_fast);
    rope.beta_slow = from.number({"beta_slow"}).value_or(rope.beta_slow);
    rope.mscale = from.number({"mscale"}).value_or(rope.mscale);
    rope.mscale_all_dim = from.number({"mscale_all_dim"}).value_or(rope.mscale_all_dim);
  };
  // A list: one theta a layer (Step).
  if (!fields.is_list("rope_theta"))
    rope.theta = fields.number({"rope_theta"}).value_or(rope.theta);
  if (const auto scaling = fields.object("rope_scaling")) read(*scaling);
  const auto parameters = fields.object("rope_parameters");
  if (!parameters) return;
  // transformers 5 writes one set, or one a layer type.
  for (const auto* type : {"full_attention", "indexed_attention", "main"}) {
    if (const auto nested = parameters->object(type)) return read(*nested);
  }
  read(*parameters);
}

// Parts around attention and MLP whose weights model_weights does not know.
void warn_of_uncounted_parts(const ConfigFields& fields, ModelSpec& spec) {
  for (const std::string_view name :
       {"hc_mult", "hc_count", "gated_norm_rank", "learnable_sink_init", "engram_layer_ids",
        "ple_layer_ids", "oe_vocab_size_ratio", "attn_res_block_size"}) {
    const auto* value = fields.find(name);
    if (value == nullptr || (value->is_array() && value->empty())) continue;
    spec.has_uncounted_parts = true;
    fields.problems().warn(
        fmt::format("{}: weights of this part of the model are not counted", fields.path_of(name)));
  }
}

// A checkpoint of a sparse family whose fields were lost (an export that leaves out what equals the
// defaults of its class) would look dense: refused, because its defaults are not ours to assume.
void refuse_lost_fields(const ConfigFields& fields, AttentionFamily family, const ModelSpec& spec) {
  struct Family {
    std::string_view model_type;
    AttentionFamily family;
    std::string_view field;
  };
  constexpr std::array kFamilies = {
      Family{"deepseek_v32", AttentionFamily::kDsa, "index_topk"},
      Family{"glm_moe_dsa", AttentionFamily::kDsa, "index_topk"},
      Family{"glm5_next", AttentionFamily::kDsa, "index_topk"},
      Family{"hy_v4", AttentionFamily::kDsa, "index_topk"},
      Family{"axk2", AttentionFamily::kDsa, "index_topk"},
      Family{"mistral_large4", AttentionFamily::kDsa, "index_topk"},
      Family{"deepseek_v4", AttentionFamily::kCompressed, "compress_ratios"},
  };
  for (const auto& known : kFamilies) {
    if (spec.model_type != known.model_type || family == known.family) continue;
    fields.problems().fail_at(
        known.field,
        fmt::format("is missing; model_type {} is sparse and needs it", known.model_type));
  }
}

Result<ModelSpec> read_spec(const json& document, const json* quant_document,
                            std::string_view source) {
  ConfigProblems problems;
  ModelSpec spec;
  spec.source = std::string(source);
  const ConfigFields outer(document, "", problems);
  const auto nested = nested_name(document);
  spec.nested_text_config = !nested.empty();
  const ConfigFields fields = nested.empty() ? outer
                                             : ConfigFields(document[std::string(nested)],
                                                            std::string(nested), problems, &outer);
  read_names(outer, fields, spec);
  read_sizes(fields, spec);
  if (problems.error) return tl::unexpected(std::move(*problems.error));

  read_rope(fields, spec);
  const auto family = attention_family(fields);
  refuse_lost_fields(fields, family, spec);
  read_attention_layers(fields, family, spec);
  if (problems.error) return tl::unexpected(std::move(*problems.error));
  read_mlp_layers(fields, spec);
  read_layer_geometry(fields, spec);
  if (problems.error) return tl::unexpected(std::move(*problems.error));
  read_quantisation(fields, quant_document, spec);
  warn_of_uncounted_parts(fields, spec);
  report_unknown_sparse_fields(document, spec.model_type, problems);
  if (problems.error) return tl::unexpected(std::move(*problems.error));
  spec.warnings = std::move(problems.warnings);
  return spec;
}

}  // namespace

Result<ModelSpec> parse_model(std::string_view config_text, std::string_view quant_text,
                              std::string_view source) {
  std::vector<std::string> warnings;
  const auto about_config = [&](Error error) { return std::move(error).with_context(source); };
  const auto document = parse_document(config_text, warnings).map_error(about_config);
  if (!document) return tl::unexpected(document.error());
  std::optional<json> quant;
  if (!quant_text.empty()) {
    auto parsed = parse_document(quant_text, warnings).map_error([&](Error error) {
      return std::move(error).with_context(fmt::format("hf_quant_config.json beside {}", source));
    });
    if (!parsed) return tl::unexpected(std::move(parsed).error());
    quant = *std::move(parsed);
  } else if (const auto bundled = document->find("hf_quant_config");
             bundled != document->end() && bundled->is_object()) {
    quant = *bundled;  // bundled models keep both in one file
  }
  try {
    auto spec = read_spec(*document, quant ? &*quant : nullptr, source).map_error(about_config);
    if (spec) spec->warnings.insert(spec->warnings.begin(), warnings.begin(), warnings.end());
    return spec;
  } catch (const json::exception& error) {
    return tl::unexpected(Error(Errc::kParse, fmt::format("{}: {}", source, error.what())));
  }
}

}  // namespace dsaperf::model
