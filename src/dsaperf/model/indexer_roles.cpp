#include "dsaperf/model/indexer_roles.hpp"

#include "dsaperf/model/attention_layers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::model {
namespace {

using Roles = std::vector<IndexerRole>;

std::optional<Roles> from_types(const ConfigFields& fields) {
  const auto types = fields.texts({"indexer_types"});
  if (!types) return std::nullopt;
  Roles roles;
  for (std::size_t i = 0; i < types->size(); ++i) {
    const auto& type = (*types)[i];
    if (type != "full" && type != "shared") {
      fields.problems().fail_at(fmt::format("{}[{}]", fields.path_of("indexer_types"), i),
                                fmt::format("\"{:.40}\" is neither full nor shared", type));
      return std::nullopt;
    }
    roles.push_back(type == "full" ? IndexerRole::kFull : IndexerRole::kShared);
  }
  return roles;
}

std::optional<Roles> from_pattern(const ConfigFields& fields) {
  if (fields.is_list("index_topk_pattern")) {
    fields.problems().fail_at(fields.path_of("index_topk_pattern"),
                              "a list, not a text of F and S");
    return std::nullopt;
  }
  const auto pattern = fields.text({"index_topk_pattern"});
  if (!pattern) return std::nullopt;
  Roles roles;
  for (std::size_t i = 0; i < pattern->size(); ++i) {
    const char letter = (*pattern)[i];
    if (letter != 'F' && letter != 'S') {
      fields.problems().fail_at(fields.path_of("index_topk_pattern"),
                                fmt::format("letter {} is neither F nor S", i));
      return std::nullopt;
    }
    roles.push_back(letter == 'F' ? IndexerRole::kFull : IndexerRole::kShared);
  }
  return roles;
}

std::optional<Roles> from_rule(const ConfigFields& fields, int layers) {
  const auto frequency = fields.integer({"index_topk_freq"}, 0);
  if (!frequency) return std::nullopt;
  // transformers' default; GLM-5.2 writes 3.
  const int offset = fields.integer({"index_skip_topk_offset"}).value_or(2);
  const int every = std::max(*frequency, 1);
  Roles roles;
  for (int i = 0; i < layers; ++i) {
    roles.push_back(std::max(i - offset + 1, 0) % every == 0 ? IndexerRole::kFull
                                                             : IndexerRole::kShared);
  }
  return roles;
}

// The first layer on which two readings of the config differ, or -1.
int first_difference(const Roles& a, const Roles& b) {
  const auto n = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return static_cast<int>(i);
  }
  return -1;
}

struct Source {
  std::string_view field;
  std::optional<Roles> roles;
};

// A list shorter or longer than the layers: completed by the rule with a warning, else an error.
void fit(Source& list, const Source& rule, const ConfigFields& fields, const ModelSpec& spec) {
  const auto layers = static_cast<std::size_t>(spec.main_layers);
  const auto given = list.roles->size();
  const auto with_mtp = layers + static_cast<std::size_t>(spec.mtp_layers);
  if (given == layers || given == with_mtp) return;
  if (!rule.roles || given > with_mtp) {
    fields.problems().fail_at(fields.path_of(list.field),
                              fmt::format("{} entries for {} layers", given, layers));
    return;
  }
  fields.problems().warn(
      fmt::format("{}: {} entries for {} layers; layers {} to {} follow index_topk_freq and "
                  "index_skip_topk_offset",
                  fields.path_of(list.field), given, layers, given, layers - 1));
  list.roles->insert(list.roles->end(), rule.roles->begin() + static_cast<std::ptrdiff_t>(given),
                     rule.roles->end());
}

}  // namespace

void read_indexer_roles(const ConfigFields& fields, ModelSpec& spec) {
  Source types{"indexer_types", from_types(fields)};
  Source pattern{"index_topk_pattern", from_pattern(fields)};
  const Source rule{"index_topk_freq", from_rule(fields, spec.main_layers)};
  for (auto* list : {&types, &pattern}) {
    if (list->roles) fit(*list, rule, fields, spec);
  }
  const Source& chosen = types.roles ? types : pattern.roles ? pattern : rule;
  if (!chosen.roles) return;
  for (const Source* other : {&std::as_const(pattern), &rule}) {
    if (other == &chosen || !other->roles) continue;
    const int layer = first_difference(*chosen.roles, *other->roles);
    if (layer < 0) continue;
    fields.problems().warn(
        fmt::format("{} and {} disagree, first at layer {} ({} against {}); {} is followed",
                    chosen.field, other->field, layer, name((*chosen.roles)[layer]),
                    name((*other->roles)[layer]), chosen.field));
  }
  bool any_full = false;
  for (auto& layer : spec.layers) {
    const auto i = static_cast<std::size_t>(layer.index);
    // A draft layer has an indexer of its own, whatever it shares between its iterations.
    if (layer.is_mtp || !layer.indexer || i >= chosen.roles->size()) continue;
    layer.indexer_role = (*chosen.roles)[i];
    if (layer.indexer_role == IndexerRole::kShared && !any_full) {
      fields.problems().fail_at(
          fields.path_of(chosen.field),
          fmt::format("layer {} shares a selection, but no layer before it makes one", i));
      return;
    }
    any_full = any_full || layer.indexer_role == IndexerRole::kFull;
  }
}

namespace {

// V4's ratios: 0 window only, 4 with an indexer, 128 without. The border between lies where a
// selection still pays: at 32 tokens a row a million tokens are 32,768 rows.
constexpr int kHeavyRatio = 32;

std::vector<int> ratios_by_type(const ConfigFields& fields, const ModelSpec& spec) {
  int sparse_ratio = 4;
  int heavy_ratio = 128;
  if (const auto rates = fields.object("compress_rates")) {
    sparse_ratio = rates->integer({"compressed_sparse_attention"}, 1).value_or(sparse_ratio);
    heavy_ratio = rates->integer({"heavily_compressed_attention"}, 1).value_or(heavy_ratio);
  } else {
    fields.problems().warn("compress_rates is missing: DeepSeek-V4's 4 and 128 are assumed");
  }
  std::vector<int> ratios;
  ratios.reserve(spec.layers.size());
  for (const auto& layer : spec.layers) {
    // A draft layer attends to its window, as in the checkpoints that write ratios.
    ratios.push_back(layer.is_mtp                                           ? 0
                     : layer.attention == AttentionKind::kCompressedSparse  ? sparse_ratio
                     : layer.attention == AttentionKind::kHeavilyCompressed ? heavy_ratio
                                                                            : 0);
  }
  return ratios;
}

std::vector<bool> marks(const std::optional<std::vector<int>>& ids, std::string_view field,
                        const ConfigFields& fields, const ModelSpec& spec) {
  std::vector<bool> marked(spec.layers.size(), false);
  if (!ids) return marked;
  for (const int id : *ids) {
    if (id < 0 || id >= spec.main_layers) {
      fields.problems().fail_at(fields.path_of(field),
                                fmt::format("layer {} of {} layers", id, spec.main_layers));
      return marked;
    }
    marked[static_cast<std::size_t>(id)] = true;
  }
  return marked;
}

}  // namespace

void read_compressed_layers(const ConfigFields& fields, ModelSpec& spec) {
  IndexerGeometry indexer;
  const std::string_view why = "compressed sparse attention needs it";
  const bool by_ratio = fields.is_list("compress_ratios");
  auto ratios = layer_integers(fields, "compress_ratios", spec).value_or(std::vector<int>{});
  if (by_ratio) spec.facts.compress_ratios = ratios;
  if (!by_ratio) ratios = ratios_by_type(fields, spec);
  const auto sources = fields.integers({"index_source_layer_ids"});
  const auto is_source = marks(sources, "index_source_layer_ids", fields, spec);
  const auto kv_sources = fields.integers({"kv_source_layer_ids"});
  const auto is_kv_source = marks(kv_sources, "kv_source_layer_ids", fields, spec);

  indexer.heads = fields.required({"index_n_heads"}, why);
  indexer.dim = fields.required({"index_head_dim"}, why);
  indexer.topk = fields.required({"index_topk"}, why);
  spec.facts.index_heads = indexer.heads;
  spec.facts.index_dim = indexer.dim;
  spec.facts.index_topk = indexer.topk;

  int last_kv_source = -1;
  bool any_source = false;
  for (auto& layer : spec.layers) {
    const auto i = static_cast<std::size_t>(layer.index);
    // A draft layer that the list does not name attends to its window.
    const int ratio = i < ratios.size() ? ratios[i] : 0;
    if (ratio < 0) {
      fields.problems().fail_at(fmt::format("{}[{}]", fields.path_of("compress_ratios"), i),
                                fmt::format("{} is negative", ratio));
      return;
    }
    layer.compress_ratio = ratio;
    if (ratio == 0) {
      layer.attention = AttentionKind::kSlidingWindow;
      continue;
    }
    const bool heavy = by_ratio ? !sources && ratio >= kHeavyRatio
                                : layer.attention == AttentionKind::kHeavilyCompressed;
    layer.attention = heavy ? AttentionKind::kHeavilyCompressed : AttentionKind::kCompressedSparse;
    if (by_ratio && !sources && ratio != 4 && ratio != 128) {
      fields.problems().warn(fmt::format(
          "compress_ratios[{}] = {}: read as {}", i, ratio,
          heavy ? "heavily compressed, without an indexer" : "compressed sparse, with an indexer"));
    }
    if (kv_sources && !layer.is_mtp) {
      if (is_kv_source[i]) last_kv_source = layer.index;
      if (last_kv_source >= 0 && !is_kv_source[i]) layer.kv_source = last_kv_source;
    }
    if (heavy) continue;
    layer.indexer = indexer;
    layer.indexer->pool = ratio;
    layer.indexer_role =
        !sources || layer.is_mtp || is_source[i] ? IndexerRole::kFull : IndexerRole::kShared;
    any_source = any_source || layer.indexer_role == IndexerRole::kFull;
    if (!any_source) {
      fields.problems().fail_at(
          fields.path_of("index_source_layer_ids"),
          fmt::format("layer {} is compressed, but no layer up to it runs an indexer", i));
      return;
    }
  }
}

}  // namespace dsaperf::model
