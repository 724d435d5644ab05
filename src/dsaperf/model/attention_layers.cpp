#include "dsaperf/model/attention_layers.hpp"

#include "dsaperf/model/indexer_roles.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace dsaperf::model {
namespace {

// What an entry of layer_types says about its layer.
enum class LayerMeaning {
  kFull,
  kSelecting,
  kCompressed,
  kHeavilyCompressed,
  kSliding,
  kLinear,
  kMlpAlone
};

struct NamedMeaning {
  std::string_view name;
  LayerMeaning meaning;
};

constexpr std::array kLayerTypes = {
    NamedMeaning{"full_attention", LayerMeaning::kFull},
    NamedMeaning{"attention", LayerMeaning::kFull},
    NamedMeaning{"indexed_attention", LayerMeaning::kSelecting},
    NamedMeaning{"deepseek_sparse_attention", LayerMeaning::kSelecting},
    NamedMeaning{"hybrid_indexed", LayerMeaning::kSelecting},
    NamedMeaning{"minimax_m3_sparse", LayerMeaning::kSelecting},
    NamedMeaning{"sparse_attention", LayerMeaning::kSelecting},
    NamedMeaning{"compressed_sparse_attention", LayerMeaning::kCompressed},
    NamedMeaning{"heavily_compressed_attention", LayerMeaning::kHeavilyCompressed},
    NamedMeaning{"sliding_attention", LayerMeaning::kSliding},
    NamedMeaning{"chunked_attention", LayerMeaning::kSliding},
    NamedMeaning{"linear_attention", LayerMeaning::kLinear},
    NamedMeaning{"mamba", LayerMeaning::kLinear},
    NamedMeaning{"moe", LayerMeaning::kMlpAlone},
    NamedMeaning{"mlp", LayerMeaning::kMlpAlone},
};

LayerMeaning meaning_of(std::string_view type, std::string_view path, std::size_t layer,
                        ConfigProblems& problems) {
  for (const auto& known : kLayerTypes) {
    if (known.name == type) return known.meaning;
  }
  const auto contains = [&](std::string_view part) { return type.find(part) != type.npos; };
  auto meaning = LayerMeaning::kFull;
  std::string_view read_as = "full attention";
  if (contains("sparse") || contains("index")) {
    meaning = LayerMeaning::kSelecting;
    read_as = "sparse";
  } else if (contains("linear") || contains("mamba") || contains("recurrent") || contains("conv")) {
    meaning = LayerMeaning::kLinear;
    read_as = "linear attention";
  } else if (contains("sliding") || contains("local") || contains("chunk")) {
    meaning = LayerMeaning::kSliding;
    read_as = "a sliding window";
  }
  problems.warn(fmt::format("{}[{}]: unknown layer type {}, read as {} by its name", path, layer,
                            excerpt(nlohmann::json(std::string(type))), read_as));
  return meaning;
}

using Meanings = std::vector<LayerMeaning>;

std::optional<Meanings> from_layer_types(const ConfigFields& fields, const ModelSpec& spec) {
  const auto types = layer_texts(fields, "layer_types", spec);
  if (!types) return std::nullopt;
  Meanings meanings;
  meanings.reserve(types->size());
  for (std::size_t i = 0; i < types->size(); ++i) {
    meanings.push_back(
        meaning_of((*types)[i], fields.path_of("layer_types"), i, fields.problems()));
  }
  return meanings;
}

// linear_attn_config of Kimi and glm5_next: lists of layers, counted from 0 or from 1.
std::optional<Meanings> from_linear_config(const ConfigFields& fields, const ModelSpec& spec) {
  const auto linear = fields.object("linear_attn_config");
  if (!linear) return std::nullopt;
  const auto full = linear->integers({"full_attn_layers"});
  const auto recurrent = linear->integers({"kda_layers", "linear_layers"});
  if (!full && !recurrent) return std::nullopt;
  const auto layers = static_cast<int>(spec.main_layers);
  const auto has = [](const std::optional<std::vector<int>>& list, int value) {
    return list && std::find(list->begin(), list->end(), value) != list->end();
  };
  const bool counts_from_zero = has(full, 0) || has(recurrent, 0);
  const int first = counts_from_zero ? 0 : 1;
  Meanings meanings(layers, full ? LayerMeaning::kLinear : LayerMeaning::kFull);
  for (const auto* list : {&full, &recurrent}) {
    if (!*list) continue;
    for (const int number : **list) {
      const int layer = number - first;
      if (layer < 0 || layer >= layers) {
        fields.problems().fail_at(fields.path_of("linear_attn_config"),
                                  fmt::format("layer {} of {} layers", number, layers));
        return std::nullopt;
      }
      meanings[layer] = list == &full ? LayerMeaning::kFull : LayerMeaning::kLinear;
    }
  }
  return meanings;
}

std::optional<Meanings> from_block_types(const ConfigFields& fields, const ModelSpec& spec) {
  const auto types = block_types(fields);
  if (!types) return std::nullopt;
  if (static_cast<int>(types->size()) != spec.main_layers) {
    fields.problems().fail_at(
        fields.path_of(fields.has("layers_block_type") ? "layers_block_type"
                                                       : "hybrid_override_pattern"),
        fmt::format("{} entries for {} layers", types->size(), spec.main_layers));
    return std::nullopt;
  }
  Meanings meanings;
  for (std::size_t i = 0; i < types->size(); ++i) {
    meanings.push_back(meaning_of((*types)[i], "layers_block_type", i, fields.problems()));
  }
  return meanings;
}

Meanings by_rule(const ConfigFields& fields, const ModelSpec& spec) {
  const int layers = spec.main_layers;
  if (const auto pattern = layer_integers(fields, "hybrid_layer_pattern", spec)) {  // 1: window
    Meanings meanings;
    for (const int windowed : *pattern) {
      meanings.push_back(windowed != 0 ? LayerMeaning::kSliding : LayerMeaning::kFull);
    }
    return meanings;
  }
  Meanings meanings(layers, LayerMeaning::kFull);
  if (const auto every = fields.integer({"full_attention_interval"}, 1)) {
    for (int i = 0; i < layers; ++i) {
      if ((i + 1) % *every != 0) meanings[i] = LayerMeaning::kLinear;
    }
    return meanings;
  }
  const bool windowed = fields.integer({"sliding_window", "sliding_window_size"}).value_or(0) > 0 &&
                        fields.flag({"use_sliding_window"}).value_or(true);
  if (!windowed || fields.has("compress_ratios")) return meanings;
  if (fields.has("index_topk")) {
    fields.problems().warn(fmt::format(
        "{} is set, but no layer_types says which layers have it: every layer is read as sparse",
        fields.path_of(fields.has("sliding_window") ? "sliding_window" : "sliding_window_size")));
    return meanings;
  }
  // Gemma: every n-th layer is full. Qwen: the first max_window_layers are full.
  const int every = fields.integer({"sliding_window_pattern"}, 1).value_or(0);
  const int first = fields.integer({"max_window_layers"}).value_or(0);
  for (int i = first; i < layers; ++i) {
    if (every == 0 || (i + 1) % every != 0) meanings[i] = LayerMeaning::kSliding;
  }
  return meanings;
}

AttentionKind plain_kind(LayerMeaning meaning, bool latent) {
  switch (meaning) {
    case LayerMeaning::kSliding:
      return AttentionKind::kSlidingWindow;
    case LayerMeaning::kLinear:
      return AttentionKind::kLinear;
    case LayerMeaning::kCompressed:
      return AttentionKind::kCompressedSparse;
    case LayerMeaning::kHeavilyCompressed:
      return AttentionKind::kHeavilyCompressed;
    case LayerMeaning::kMlpAlone:
      return AttentionKind::kNone;
    default:
      return latent ? AttentionKind::kMla : AttentionKind::kGqa;
  }
}

class LayerReader {
 public:
  LayerReader(const ConfigFields& fields, AttentionFamily family, ModelSpec& spec)
      : fields_(fields), family_(family), spec_(spec), latent_(fields.has("kv_lora_rank")) {}

  void read() {
    auto meanings = from_layer_types(fields_, spec_);
    const bool typed = meanings.has_value();
    if (!meanings) meanings = from_linear_config(fields_, spec_);
    if (!meanings) meanings = from_block_types(fields_, spec_);
    if (!meanings) meanings = by_rule(fields_, spec_);
    make_layers(*meanings);
    switch (family_) {
      case AttentionFamily::kPlain:
        break;
      case AttentionFamily::kDsa:
        dsa(*meanings, typed);
        break;
      case AttentionFamily::kCompressed:
        compressed();
        break;
      case AttentionFamily::kBlock:
        block(*meanings, typed);
        break;
      case AttentionFamily::kLightning:
        lightning();
        break;
      case AttentionFamily::kBudget:
        budget(*meanings, typed);
        break;
    }
    shared_caches();
  }

 private:
  void make_layers(const Meanings& meanings) {
    // LongCat: each of num_layers holds two attention blocks.
    const int blocks_a_layer = has_two_blocks(fields_) ? 2 : 1;
    for (int i = 0; i < spec_.main_layers; ++i) {
      for (int block = 0; block < blocks_a_layer; ++block) add_layer(meanings[i], false);
    }
    // A draft layer attends like the last full or selecting layer, unless the list goes on.
    for (int i = 0; i < spec_.mtp_layers; ++i) {
      const std::size_t at = std::size_t(spec_.main_layers) + std::size_t(i);
      add_layer(at < meanings.size() ? meanings[at] : draft_meaning(meanings), true);
    }
  }

  static LayerMeaning draft_meaning(const Meanings& meanings) {
    for (const auto wanted : {LayerMeaning::kSelecting, LayerMeaning::kFull}) {
      if (std::find(meanings.begin(), meanings.end(), wanted) != meanings.end()) return wanted;
    }
    return meanings.empty() ? LayerMeaning::kFull : meanings.back();
  }

  void add_layer(LayerMeaning meaning, bool is_mtp) {
    LayerPlan layer;
    layer.index = static_cast<int>(spec_.layers.size());
    layer.is_mtp = is_mtp;
    layer.attention = plain_kind(meaning, latent_);
    spec_.layers.push_back(layer);
  }

  void dsa(const Meanings& meanings, bool typed) {
    const auto pool = fields_.integer({"index_kpool"}, 1);
    spec_.facts.index_kpool = pool;
    IndexerGeometry indexer;
    const std::string_view why = "a DSA layer needs index_n_heads, index_head_dim and index_topk";
    indexer.heads = fields_.required({"index_n_heads"}, why);
    indexer.dim = fields_.required({"index_head_dim"}, why);
    indexer.topk = fields_.required({"index_topk"}, why);
    indexer.pool = pool.value_or(1);
    indexer.rope_pairing = rope_pairing();
    spec_.facts.index_heads = indexer.heads;
    spec_.facts.index_dim = indexer.dim;
    spec_.facts.index_topk = indexer.topk;

    const auto kind = pool ? AttentionKind::kPooledDsa : AttentionKind::kDsa;
    const bool full_selects = full_layers_select(meanings, typed);
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      auto& layer = spec_.layers[i];
      const auto meaning = i < meanings.size() ? meanings[i] : draft_meaning(meanings);
      const bool selects =
          meaning == LayerMeaning::kSelecting || (meaning == LayerMeaning::kFull && full_selects);
      if (!selects) continue;
      layer.attention = kind;
      layer.indexer = indexer;
      layer.indexer_role = IndexerRole::kFull;
    }
    read_indexer_roles(fields_, spec_);
  }

  // Without layer_types every layer selects. With them a full_attention layer does not, unless the
  // config says so elsewhere: transformers reads it as indexed in glm5_next and with use_dsa.
  bool full_layers_select(const Meanings& meanings, bool typed) {
    if (const auto use = fields_.flag({"use_dsa"})) return *use;
    if (!typed) return true;
    const auto has = [&](LayerMeaning meaning) {
      return std::find(meanings.begin(), meanings.end(), meaning) != meanings.end();
    };
    if (has(LayerMeaning::kSelecting) || !has(LayerMeaning::kFull)) return false;
    const bool says_so = fields_.has("index_kpool") || fields_.has("indexer_types");
    fields_.problems().warn(
        fmt::format("{}: no entry names sparse attention although index_topk is set; "
                    "full_attention is read as {}",
                    fields_.path_of("layer_types"), says_so ? "sparse" : "dense"));
    return says_so;
  }

  RopePairing rope_pairing() {
    // GLM writes the field; its class interleaves whether or not it is written.
    const bool glm = spec_.model_type.starts_with("glm");
    return fields_.flag({"indexer_rope_interleave"}).value_or(glm) ? RopePairing::kInterleaved
                                                                   : RopePairing::kHalfSplit;
  }

  void compressed() { read_compressed_layers(fields_, spec_); }

  void block(const Meanings& meanings, bool typed) {
    const auto nested = fields_.object("sparse_attention_config");
    const ConfigFields& config = nested ? *nested : fields_;
    IndexerGeometry indexer;
    const std::string_view why = "block-sparse attention needs it";
    indexer.heads = config.required({"sparse_num_index_heads", "index_n_heads"}, why);
    indexer.dim = config.required({"sparse_index_dim", "index_head_dim"}, why);
    indexer.topk = config.required({"sparse_topk_blocks", "index_topk_blocks"}, why);
    indexer.block = config.required({"sparse_block_size", "index_block_size"}, why);
    const auto init = config.integer({"sparse_init_block", "index_init_blocks"});
    const auto local = config.integer({"sparse_local_block", "index_local_blocks"});
    indexer.init_always = init.value_or(0);
    indexer.local_always = local.value_or(0);
    spec_.facts.index_heads = indexer.heads;
    spec_.facts.index_dim = indexer.dim;
    spec_.facts.topk_blocks = indexer.topk;
    spec_.facts.block_size = indexer.block;
    spec_.facts.init_blocks = init;
    spec_.facts.local_blocks = local;

    const auto frequency =
        nested ? layer_integers(*nested, "sparse_attention_freq", spec_) : std::nullopt;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      auto& layer = spec_.layers[i];
      bool sparse = true;
      if (frequency) {
        sparse = i < frequency->size() ? (*frequency)[i] != 0 : frequency->back() != 0;
      } else if (typed) {
        const auto meaning = i < meanings.size() ? meanings[i] : draft_meaning(meanings);
        sparse = meaning == LayerMeaning::kSelecting;
      }
      if (!sparse) continue;
      layer.attention = AttentionKind::kBlockSparse;
      layer.indexer = indexer;
      layer.indexer_role = IndexerRole::kFull;
    }
  }

  void lightning() {
    IndexerGeometry indexer;
    const std::string_view why = "attention_method LSA needs it";
    indexer.heads = fields_.required({"index_n_heads"}, why);
    indexer.dim = fields_.required({"index_head_dim"}, why);
    indexer.topk = fields_.required({"index_topk"}, why);
    const auto init = fields_.integer({"index_init_tokens"});
    const auto local = fields_.integer({"index_local_tokens"});
    indexer.init_always = init.value_or(0);
    indexer.local_always = local.value_or(0);
    spec_.facts.index_heads = indexer.heads;
    spec_.facts.index_dim = indexer.dim;
    spec_.facts.index_topk = indexer.topk;
    spec_.facts.init_tokens = init;
    spec_.facts.local_tokens = local;
    const int served = fields_.integer({"cli_factor"}, 1).value_or(1);
    for (auto& layer : spec_.layers) {
      layer.attention = AttentionKind::kLightningSparse;
      layer.indexer = indexer;
      layer.indexer_role =
          layer.is_mtp || layer.index % served == 0 ? IndexerRole::kFull : IndexerRole::kShared;
    }
  }

  void budget(const Meanings& meanings, bool typed) {
    IndexerGeometry indexer;
    const auto heads = fields_.integer({"indexer_n_heads"}, 1);
    const auto dim = fields_.integer({"indexer_head_dim"}, 1);
    const auto budget = fields_.integer({"indexer_budget"}, 1);
    const auto ratio = fields_.integer({"indexer_compress_ratio"}, 1);
    spec_.facts.index_heads = heads;
    spec_.facts.index_dim = dim;
    spec_.facts.budget_tokens = budget;
    spec_.facts.budget_compress_ratio = ratio;
    const bool complete = heads && dim && budget && ratio;
    const bool selecting =
        std::find(meanings.begin(), meanings.end(), LayerMeaning::kSelecting) != meanings.end();
    if (!complete && (heads || dim || budget || ratio || selecting)) {
      fields_.problems().warn(
          "indexer_n_heads, indexer_head_dim, indexer_budget or indexer_compress_ratio is null: "
          "the "
          "indexer's size is not known, its weights and cache are not counted");
    }
    indexer.heads = heads.value_or(0);
    indexer.dim = dim.value_or(0);
    indexer.pool = ratio.value_or(1);
    indexer.block = ratio.value_or(0);
    indexer.topk = budget.value_or(0) / ratio.value_or(1);
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      auto& layer = spec_.layers[i];
      const auto meaning = i < meanings.size() ? meanings[i] : draft_meaning(meanings);
      // In Qwen3.8 the selecting layers are called full_attention.
      const bool full = meaning == LayerMeaning::kFull && (heads || (!typed && complete));
      if (meaning != LayerMeaning::kSelecting && !full) continue;
      layer.attention = AttentionKind::kBudgetSparse;
      layer.indexer = indexer;
      layer.indexer_role = IndexerRole::kFull;
    }
  }

  // kv_source_layers: for each layer the one whose cache it reads (its own index: its own).
  void shared_caches() {
    const auto sources = layer_integers(fields_, "kv_source_layers", spec_);
    const auto no_rope = fields_.integers({"no_rope_layers"});  // 1: rope is on
    for (auto& layer : spec_.layers) {
      const auto i = static_cast<std::size_t>(layer.index);
      if (layer.is_mtp) continue;
      if (no_rope && i < no_rope->size()) layer.uses_rope = (*no_rope)[i] != 0;
      if (!sources || i >= sources->size()) continue;
      const int source = (*sources)[i];
      if (source < 0 || source > layer.index) {
        fields_.problems().fail_at(
            fmt::format("{}[{}]", fields_.path_of("kv_source_layers"), i),
            fmt::format("{}: a layer reads its own cache or an earlier layer's", source));
        return;
      }
      if (source != layer.index) layer.kv_source = source;
    }
  }

  const ConfigFields& fields_;
  AttentionFamily family_;
  ModelSpec& spec_;
  bool latent_;
};

template <typename T>
std::optional<std::vector<T>> of_right_length(std::optional<std::vector<T>> list,
                                              const ConfigFields& fields, std::string_view name,
                                              const ModelSpec& spec) {
  if (!list) return std::nullopt;
  const auto length = static_cast<int>(list->size());
  if (length == spec.main_layers || length == spec.main_layers + spec.mtp_layers) return list;
  fields.problems().fail_at(
      fields.path_of(name),
      fmt::format("{} entries for {} layers{}", length, spec.main_layers,
                  spec.mtp_layers > 0 ? fmt::format(" and {} MTP layers", spec.mtp_layers) : ""));
  return std::nullopt;
}

}  // namespace

AttentionFamily attention_family(const ConfigFields& fields) {
  if (fields.text({"attention_method"}).value_or("") == "LSA") return AttentionFamily::kLightning;
  if (const auto sparse = fields.object("sparse_attention_config")) {
    if (sparse->flag({"use_sparse_attention"}).value_or(true)) return AttentionFamily::kBlock;
  } else if (fields.has("index_topk_blocks")) {
    return AttentionFamily::kBlock;
  }
  const auto types = fields.texts({"layer_types"}).value_or(std::vector<std::string>{});
  const auto has_type = [&](std::string_view wanted) {
    return std::find(types.begin(), types.end(), wanted) != types.end();
  };
  if (fields.is_list("compress_ratios") || has_type("compressed_sparse_attention") ||
      has_type("heavily_compressed_attention")) {
    return AttentionFamily::kCompressed;
  }
  if (fields.mentions("indexer_n_heads") || fields.mentions("indexer_budget")) {
    return AttentionFamily::kBudget;
  }
  const bool selects = has_type("indexed_attention") || has_type("deepseek_sparse_attention");
  if (fields.has("index_topk") || fields.has("index_n_heads") || fields.has("index_head_dim") ||
      selects) {
    return AttentionFamily::kDsa;
  }
  return AttentionFamily::kPlain;
}

bool has_two_blocks(const ConfigFields& fields) {
  return fields.has("num_layers") && (fields.has("expert_ffn_hidden_size") ||
                                      fields.text({"attention_method"}).value_or("") == "LSA");
}

std::optional<std::vector<std::string>> block_types(const ConfigFields& fields) {
  if (fields.has("layers_block_type")) return fields.texts({"layers_block_type"});
  const auto pattern = fields.text({"hybrid_override_pattern"});
  if (!pattern) return std::nullopt;
  std::vector<std::string> types;
  for (const char letter : *pattern) {
    types.emplace_back(letter == 'M'   ? "mamba"
                       : letter == '*' ? "attention"
                       : letter == 'E' ? "moe"
                                       : "mlp");
  }
  return types;
}

void read_attention_layers(const ConfigFields& fields, AttentionFamily family, ModelSpec& spec) {
  LayerReader(fields, family, spec).read();
}

std::optional<std::vector<std::string>> layer_texts(const ConfigFields& fields,
                                                    std::string_view name, const ModelSpec& spec) {
  return of_right_length(fields.texts({name}), fields, name, spec);
}

std::optional<std::vector<int>> layer_integers(const ConfigFields& fields, std::string_view name,
                                               const ModelSpec& spec) {
  return of_right_length(fields.integers({name}), fields, name, spec);
}

}  // namespace dsaperf::model
