#include "dsaperf/model/quantisation.hpp"

#include "dsaperf/model/module_patterns.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::model {
namespace {

using nlohmann::json;

// One document's rules: what is left out, what has a format of its own, and the format of the rest
// (nothing: the document does not speak of the rest).
struct Scheme {
  ModulePatterns excluded;
  std::vector<std::pair<WeightFormat, ModulePatterns>> named;
  std::optional<WeightFormat> rest;
  std::string description;

  std::optional<std::string> signature(int layer) const {
    auto joined = excluded.signature(layer);
    for (const auto& [format, modules] : named) {
      const auto own = modules.signature(layer);
      if (!joined || !own) return std::nullopt;
      (*joined += '|') += *own;
    }
    return joined;
  }

  // bf16 where a module is left out; nothing where another document may speak.
  std::optional<WeightFormat> format_of(std::string_view module, int layer) const {
    for (const auto& [format, modules] : named) {
      if (modules.matches(module, layer) && !excluded.matches(module, layer)) return format;
    }
    if (excluded.matches(module, layer)) return std::nullopt;
    return rest;
  }
};

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// modelopt's names.
std::optional<WeightFormat> format_of_algorithm(const std::string& name) {
  const auto algorithm = upper(name);
  const auto has = [&](std::string_view part) { return algorithm.find(part) != algorithm.npos; };
  if (has("NVFP4")) return WeightFormat::kNvfp4;
  if (has("MXFP4")) return WeightFormat::kMxfp4;
  if (has("MXFP8")) return WeightFormat::kMxfp8;
  if (has("FP8_PB") || has("FP8_BLOCK")) return WeightFormat::kFp8Block;
  if (algorithm.starts_with("W4A")) return WeightFormat::kInt4;
  if (has("FP8")) return WeightFormat::kFp8;
  if (has("INT4")) return WeightFormat::kInt4;
  if (has("INT8") || has("W8A8")) return WeightFormat::kInt8;
  return std::nullopt;
}

void add_patterns(const ConfigFields& fields, std::string_view name, ModulePatterns& patterns) {
  const auto list = fields.texts({name});
  if (!list) return;
  const auto path = fields.path_of(name);
  for (const auto& pattern : *list) patterns.add(pattern, path, fields.problems());
}

// A group of compressed-tensors: bits, kind and block of its weights.
std::optional<WeightFormat> group_format(const ConfigFields& group) {
  const auto format = group.text({"format"}).value_or("");
  if (format.starts_with("nvfp4")) return WeightFormat::kNvfp4;
  if (format.starts_with("mxfp4")) return WeightFormat::kMxfp4;
  if (format.starts_with("mxfp8")) return WeightFormat::kMxfp8;
  const auto weights = group.object("weights");
  if (!weights) return std::nullopt;
  const int bits = weights->integer({"num_bits"}).value_or(16);
  const bool is_float = weights->text({"type"}).value_or("int") == "float";
  const int group_size = weights->integer({"group_size"}, -1).value_or(0);
  if (bits == 4 && is_float) return group_size == 16 ? WeightFormat::kNvfp4 : WeightFormat::kMxfp4;
  if (bits == 4) return WeightFormat::kInt4;
  if (bits == 8 && !is_float) return WeightFormat::kInt8;
  if (bits == 8 && group_size == 32) return WeightFormat::kMxfp8;
  if (bits == 8) {
    return weights->text({"strategy"}).value_or("") == "block" ? WeightFormat::kFp8Block
                                                               : WeightFormat::kFp8;
  }
  return std::nullopt;
}

void read_groups(const ConfigFields& config, Scheme& scheme) {
  const auto groups = config.object("config_groups");
  if (!groups) return;
  for (const auto& [key, value] : groups->raw().items()) {
    if (!value.is_object()) continue;
    const ConfigFields group(value, groups->path_of(key.substr(0, 40)), config.problems());
    const auto format = group_format(group);
    if (!format) {
      config.problems().warn(fmt::format("{:.80}: weights of an unknown format, counted as bf16",
                                         groups->path_of(key)));
      continue;
    }
    ModulePatterns targets;
    bool everything = false;
    for (const auto& target : group.texts({"targets"}).value_or(std::vector<std::string>{})) {
      // A class name: every linear module.
      if (target == "Linear" || target == "MoE" || target.ends_with("Linear"))
        everything = true;
      else
        targets.add(target, group.path_of("targets"), config.problems());
    }
    if (everything) scheme.rest = format;
    if (!targets.empty()) scheme.named.emplace_back(*format, std::move(targets));
  }
}

// Of modelopt: quant_algo for everything, or MIXED_PRECISION and quantized_layers by name.
void read_modelopt(const ConfigFields& config, Scheme& scheme) {
  const auto algorithm = config.text({"quant_algo"});
  add_patterns(config, "exclude_modules", scheme.excluded);
  if (algorithm && upper(*algorithm) != "MIXED_PRECISION") {
    scheme.rest = format_of_algorithm(*algorithm);
    if (!scheme.rest) {
      config.problems().warn(fmt::format("{}: \"{:.40}\" is not known, weights counted as bf16",
                                         config.path_of("quant_algo"), *algorithm));
    }
  }
  scheme.description = algorithm.value_or("modelopt");
  const auto layers = config.object("quantized_layers");
  if (!layers) {
    if (!scheme.rest && algorithm && upper(*algorithm) == "MIXED_PRECISION" &&
        !config.has("config_groups")) {
      config.problems().warn(
          "MIXED_PRECISION without quantized_layers: which modules are quantised is not said");
    }
    return;
  }
  std::map<WeightFormat, ModulePatterns> by_format;
  for (const auto& [module, value] : layers->raw().items()) {
    if (!value.is_object()) continue;
    const ConfigFields entry(value, layers->path_of(module.substr(0, 60)), config.problems());
    const auto format = format_of_algorithm(entry.text({"quant_algo"}).value_or(""));
    if (format) by_format[*format].add(module, layers->path_of(module), config.problems());
  }
  for (auto& [format, modules] : by_format) scheme.named.emplace_back(format, std::move(modules));
}

// An export that quantises some modules anew on top of an fp8 checkpoint: the lists are about
// those, what they leave out stays fp8.
bool has_overlay(const ConfigFields& config) {
  return config.text({"quant_method"}).value_or("") == "fp8" && config.has("quant_algo");
}

std::optional<Scheme> scheme_of_config(const ConfigFields& config) {
  Scheme scheme;
  const auto method = config.text({"quant_method"}).value_or("");
  for (const auto* list : {"modules_to_not_convert", "ignored_layers", "exclude"}) {
    add_patterns(config, list, scheme.excluded);
  }
  if (!has_overlay(config)) add_patterns(config, "ignore", scheme.excluded);
  const auto block = config.integers({"weight_block_size"});
  scheme.description = method;
  if (method == "fp8" || method == "fbgemm_fp8") {
    scheme.rest = block ? WeightFormat::kFp8Block : WeightFormat::kFp8;
    if (block && block->size() == 2) {
      scheme.description = fmt::format("fp8 block {}x{}", (*block)[0], (*block)[1]);
    }
  } else if (method == "mxfp4") {
    scheme.rest = WeightFormat::kMxfp4;
  } else if (method == "mxfp8") {
    scheme.rest = WeightFormat::kMxfp8;
  } else if (method == "compressed-tensors") {
    read_groups(config, scheme);
    scheme.description =
        fmt::format("compressed-tensors {}", config.text({"format"}).value_or("of groups"));
  } else if (method.starts_with("modelopt") || config.has("quant_algo")) {
    read_modelopt(config, scheme);
    if (!scheme.rest) read_groups(config, scheme);
  } else if (method == "awq" || method == "gptq") {
    const int bits = config.integer({"bits", "w_bit"}).value_or(4);
    scheme.rest = bits == 8 ? WeightFormat::kInt8 : WeightFormat::kInt4;
  } else {
    config.problems().warn(fmt::format("{}: \"{:.40}\" is not known, weights counted as bf16",
                                       config.path_of("quant_method"), method));
  }
  return scheme;
}

std::optional<KvFormat> kv_format_of(std::string_view algorithm, ConfigProblems& problems) {
  if (algorithm.empty()) return std::nullopt;
  const auto name = upper(std::string(algorithm));
  if (name.find("FP8") != name.npos) return KvFormat::kFp8;
  if (name == "BF16" || name == "AUTO" || name == "NONE") return std::nullopt;
  problems.warn(
      fmt::format("the checkpoint asks for a {:.40} cache, which is not counted here", algorithm));
  return std::nullopt;
}

// Where a projection group's weights are found, in the names of transformers and of DeepSeek-V4.
using ModuleNames = std::initializer_list<std::string_view>;

class FormatReader {
 public:
  FormatReader(std::optional<Scheme> quant, std::optional<Scheme> config,
               std::optional<WeightFormat> experts, const ModelSpec& spec)
      : quant_(std::move(quant)), config_(std::move(config)), experts_(experts), spec_(spec) {}

  void set_formats(LayerPlan& layer) {
    layer_ = layer.is_mtp || two_blocks() ? number_of(layer) : layer.index;
    mtp_ = layer.is_mtp ? layer_ - spec_.main_layers : -1;
    const auto key = signature();
    if (key) {
      if (const auto known = known_.find(*key); known != known_.end()) {
        layer.formats = known->second.first;
        layer.mlp_formats = known->second.second;
        return;
      }
    }
    read_formats(layer);
    if (key) known_.emplace(*key, std::pair(layer.formats, layer.mlp_formats));
  }

  WeightFormat lm_head() const {
    // Only a list that names it as quantised makes it so: heads are kept in bf16.
    for (const auto* scheme : {&quant_, &config_}) {
      if (!*scheme) continue;
      for (const auto& [head_format, modules] : (*scheme)->named) {
        if (modules.matches("lm_head", -1)) return head_format;
      }
    }
    return WeightFormat::kBf16;
  }

 private:
  void read_formats(LayerPlan& layer) const {
    auto& attention = layer.formats;
    attention.q_a = format({"self_attn.q_a_proj", "attn.wq_a"});
    attention.q_b =
        format({"self_attn.q_b_proj", "self_attn.q_proj", "attn.wq_b", "linear_attn.in_proj_qkvz"});
    attention.kv_a = format({"self_attn.kv_a_proj_with_mqa", "self_attn.k_proj", "attn.wkv"});
    attention.kv_b = format({"self_attn.kv_b_proj", "self_attn.v_proj"});
    attention.o = format({"self_attn.o_proj", "attn.wo_a", "attn.wo_b", "linear_attn.out_proj"});
    attention.indexer = format({"self_attn.indexer.wq_b", "attn.indexer.wq_b"});
    auto& mlp = layer.mlp_formats;
    mlp.dense = format({"mlp.gate_proj", "mlp.gate_up_proj", "ffn.w1"});
    mlp.experts = expert_format();
    mlp.shared = format({"mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj",
                         "ffn.shared_experts.w1", "block_sparse_moe.shared_experts.gate_proj"});
  }

  // Layers are read once for each signature: lists of modules name every layer alike.
  std::optional<std::string> signature() const {
    if (mtp_ >= 0) return std::nullopt;
    std::string joined;
    for (const auto* scheme : {&quant_, &config_}) {
      if (!*scheme) continue;
      const auto own = (*scheme)->signature(layer_);
      if (!own) return std::nullopt;
      (joined += '#') += *own;
    }
    return joined;
  }

  bool two_blocks() const {
    return static_cast<int>(spec_.layers.size()) > spec_.main_layers + spec_.mtp_layers;
  }

  int number_of(const LayerPlan& layer) const {
    if (!layer.is_mtp) return layer.index / 2;
    const int draft = layer.index - (static_cast<int>(spec_.layers.size()) - spec_.mtp_layers);
    return spec_.main_layers + draft;
  }

  // The first document that speaks of the module, under any of its names, decides; a module that is
  // left out under one of them is left out.
  WeightFormat format(ModuleNames names) const {
    for (const auto* scheme : {&quant_, &config_}) {
      if (!*scheme) continue;
      std::optional<WeightFormat> found;
      bool left_out = false;
      for (const auto name : names) {
        const auto one = one_format(**scheme, name);
        left_out = left_out || !one;
        // A format of its own under one name counts before the rest under another.
        if (one && (!found || one != (*scheme)->rest)) found = one;
      }
      const bool named = found && found != (*scheme)->rest;
      if (found && (named || !left_out)) return *found;
    }
    return WeightFormat::kBf16;
  }

  std::optional<WeightFormat> one_format(const Scheme& scheme, std::string_view name) const {
    const auto found = scheme.format_of(fmt::format("layers.{}.{}", layer_, name), layer_);
    if (mtp_ < 0) return found;
    const auto draft = scheme.format_of(fmt::format("mtp.{}.{}", mtp_, name), -1);
    return found && draft ? found : std::nullopt;
  }

  WeightFormat expert_format() const {
    const auto found =
        format({"mlp.experts.0.gate_proj", "mlp.experts.0.gate_up_proj", "mlp.experts.0.up_proj",
                "ffn.experts.0.w1", "block_sparse_moe.experts.0.w1"});
    // expert_dtype: DeepSeek-V4's experts are fp4 under a config that says fp8.
    if (experts_ && found == WeightFormat::kFp8Block) return *experts_;
    return found;
  }

  std::optional<Scheme> quant_;
  std::optional<Scheme> config_;
  std::optional<WeightFormat> experts_;
  const ModelSpec& spec_;
  std::map<std::string, std::pair<AttentionWeightFormats, MlpWeightFormats>> known_;
  int layer_ = 0;
  int mtp_ = -1;
};

}  // namespace

void read_quantisation(const ConfigFields& fields, const json* quant_document, ModelSpec& spec) {
  auto& problems = fields.problems();
  std::optional<Scheme> config;
  std::optional<Scheme> quant;
  auto kv = std::optional<KvFormat>();
  bool modelopt = false;
  const auto config_fields = fields.object("quantization_config");
  if (config_fields) {
    config = scheme_of_config(*config_fields);
    modelopt = config_fields->text({"quant_method"}).value_or("").starts_with("modelopt");
    if (const auto* scheme = config_fields->find("kv_cache_scheme"); scheme != nullptr) {
      if (scheme->is_string()) {
        kv = kv_format_of(scheme->get_ref<const std::string&>(), problems);
      } else if (const auto cache = config_fields->object("kv_cache_scheme")) {
        if (cache->integer({"num_bits"}).value_or(16) == 8) kv = KvFormat::kFp8;
      }
    }
    if (const auto algorithm = config_fields->text({"kv_cache_quant_algo"})) {
      kv = kv_format_of(*algorithm, problems);
      spec.facts.kv_cache_quant = algorithm;
    }
  }
  if (quant_document != nullptr) {
    const ConfigFields outer(*quant_document, "hf_quant_config", problems);
    const auto inner = outer.object("quantization");
    const ConfigFields& quant_fields = inner ? *inner : outer;
    quant.emplace();
    read_modelopt(quant_fields, *quant);
    if (const auto algorithm = quant_fields.text({"kv_cache_quant_algo"})) {
      kv = kv_format_of(*algorithm, problems);
      spec.facts.kv_cache_quant = algorithm;
    }
    if (modelopt) config.reset();  // the same thing, said twice
  }
  if (kv == KvFormat::kFp8 && !spec.facts.kv_cache_quant) spec.facts.kv_cache_quant = "FP8";
  if (!quant && config_fields && has_overlay(*config_fields)) {
    quant.emplace();
    read_modelopt(*config_fields, *quant);
    add_patterns(*config_fields, "ignore", quant->excluded);
  }
  spec.kv_format = kv;

  std::optional<WeightFormat> experts;
  const auto expert_type =
      fields.text({"expert_dtype"})
          .value_or(config_fields ? config_fields->text({"expert_dtype"}).value_or("") : "");
  if (expert_type == "fp4") experts = WeightFormat::kMxfp4;

  spec.quantisation = "none (bf16)";
  if (config) spec.quantisation = config->description;
  if (quant) {
    spec.quantisation = quant->description;
    if (quant_document != nullptr) spec.quantisation += " (hf_quant_config.json)";
    if (config) spec.quantisation += ", else " + config->description;
  }
  if (experts) spec.quantisation += ", experts fp4";
  if (!config && !quant) return;

  FormatReader reader(std::move(quant), std::move(config), experts, spec);
  for (auto& layer : spec.layers) reader.set_formats(layer);
  spec.lm_head = reader.lm_head();
}

}  // namespace dsaperf::model
