#include "dsaperf/model/layer_runs.hpp"
#include "dsaperf/report/analyze.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::report {
namespace {

using model::Analysis;
using model::AttentionKind;
using model::IndexerRole;
using model::LayerPlan;

std::string count_text(std::int64_t parameters) {
  const auto value = static_cast<double>(parameters);
  return value >= 1e9 ? fmt::format("{:.2f} B", value / 1e9) : fmt::format("{:.2f} M", value / 1e6);
}

std::string size_text(Bytes bytes) {
  if (bytes.gib() >= 1) return fmt::format("{:.2f} GiB", bytes.gib());
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes.value) / (1 << 20));
}

// Fits words into lines; the first line starts with `label`, the others under it.
std::string paragraph(std::string_view label, std::string_view words, const TextStyle& style) {
  const std::size_t indent = 13;
  const auto width = static_cast<std::size_t>(std::max(style.width, 40));
  std::string text = fmt::format("{:<{}}", label, indent);
  std::size_t column = indent;
  bool line_is_empty = true;
  for (std::size_t begin = 0; begin < words.size();) {
    const auto end = std::min(words.find(' ', begin), words.size());
    const auto word = words.substr(begin, end - begin);
    if (!line_is_empty && column + 1 + word.size() > width) {
      text += '\n' + std::string(indent, ' ');
      column = indent;
      line_is_empty = true;
    }
    if (!line_is_empty) {
      text += ' ';
      ++column;
    }
    text += word;
    column += word.size();
    line_is_empty = false;
    begin = end + 1;
  }
  return text + '\n';
}

std::string joined(const std::vector<std::string>& items, std::string_view separator) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : std::string(separator)) + item;
  return text;
}

std::string cadence(const Analysis& analysis) {
  int full = 0;
  int shared = 0;
  for (const auto* layer : main_attention_layers(analysis.spec)) {
    full += layer->indexer_role == IndexerRole::kFull ? 1 : 0;
    shared += layer->indexer_role == IndexerRole::kShared ? 1 : 0;
  }
  return shared == 0 ? fmt::format("; {} layers run an indexer", full)
                     : fmt::format("; {} layers run an indexer, {} reuse the selection before them",
                                   full, shared);
}

// What is sparse and how, or why nothing is.
std::string method(const Analysis& analysis) {
  const auto& layer = typical_layer(analysis.spec);
  const auto& indexer = layer.indexer;
  const auto always = [&](std::string_view unit) {
    return indexer->init_always + indexer->local_always == 0
               ? std::string()
               : fmt::format(", the first {} and last {} {} always among them",
                             indexer->init_always, indexer->local_always, unit);
  };
  switch (layer.attention) {
    case AttentionKind::kDsa:
      return fmt::format(
          "yes: DSA, a token attends to the {} past tokens that an indexer ranks "
          "highest{}",
          indexer->topk, cadence(analysis));
    case AttentionKind::kPooledDsa:
      return fmt::format(
          "yes: DSA over pooled keys, {} consecutive index keys are one; {} tokens "
          "are selected{}",
          indexer->pool, indexer->topk, cadence(analysis));
    case AttentionKind::kCompressedSparse:
    case AttentionKind::kHeavilyCompressed:
      return fmt::format(
          "yes: compressed attention; where an indexer runs, {} compressed tokens "
          "are selected, beside a window of {}{}",
          indexer ? indexer->topk : 0, layer.geometry.window, cadence(analysis));
    case AttentionKind::kBlockSparse:
      return fmt::format("yes: MSA, {} blocks of {} tokens ({} tokens) for each index head{}{}",
                         indexer->topk, indexer->block, indexer->topk * indexer->block,
                         always("blocks"), cadence(analysis));
    case AttentionKind::kLightningSparse:
      return fmt::format("yes: LSA, DSA with {} tokens selected{}{}", indexer->topk,
                         always("tokens"), cadence(analysis));
    case AttentionKind::kBudgetSparse:
      if (indexer->topk == 0) return "yes: QSA, of a size that the config leaves open";
      return fmt::format("yes: QSA, {} blocks of {} tokens (a budget of {} tokens){}",
                         indexer->topk, indexer->block, indexer->topk * indexer->block,
                         cadence(analysis));
    case AttentionKind::kMla:
      return "no: latent attention (MLA) without an indexer; every visible token is attended to";
    default:
      return "no: no field selects or compresses what is attended to";
  }
}

std::string geometry(const LayerPlan& layer) {
  const auto& g = layer.geometry;
  if (has_latent_cache(layer)) {
    return fmt::format(
        "{} heads; query rank {}, latent {}, rope {}; a head: {} + {} wide, value {}; "
        "softmax scale {:.5f}",
        g.heads, g.q_lora > 0 ? fmt::format("{}", g.q_lora) : "none", g.kv_lora, g.rope, g.nope,
        g.rope, g.v, g.softmax_scale);
  }
  return fmt::format("{} heads of {}, {} for keys and values{}; softmax scale {:.5f}", g.heads,
                     g.head_dim, g.kv_heads,
                     g.window > 0 ? fmt::format(", window {}", g.window) : "", g.softmax_scale);
}

std::string indexer_text(const LayerPlan& layer) {
  const auto& indexer = *layer.indexer;
  const bool interleaved = indexer.rope_pairing == model::RopePairing::kInterleaved;
  std::string text =
      fmt::format("{} heads of {}, top {}", indexer.heads, indexer.dim, indexer.topk);
  if (layer.attention == AttentionKind::kDsa && layer.geometry.rope > 0) {
    text += fmt::format(", {} rope", interleaved ? "interleaved" : "half-split");
  }
  if (has_latent_cache(layer)) {
    text +=
        layer.geometry.q_lora > 0 ? ", queries from the query's low rank" : ", queries from hidden";
  }
  return text;
}

std::string formats(const Analysis& analysis) {
  const auto& spec = analysis.spec;
  const auto& layer = typical_layer(spec);
  std::vector<std::pair<std::string_view, model::WeightFormat>> groups;
  if (has_latent_cache(layer) || layer.geometry.o_groups > 0) {
    groups = {{"q_a", layer.formats.q_a}, {"q_b", layer.formats.q_b}, {"kv_a", layer.formats.kv_a}};
    if (has_latent_cache(layer)) groups.emplace_back("kv_b", layer.formats.kv_b);
  } else {
    groups = {{"q", layer.formats.q_b}, {"k", layer.formats.kv_a}, {"v", layer.formats.kv_b}};
  }
  groups.emplace_back("o", layer.formats.o);
  if (layer.indexer) groups.emplace_back("indexer", layer.formats.indexer);
  const auto moe = std::find_if(spec.layers.begin(), spec.layers.end(), [](const auto& each) {
    return each.mlp == model::MlpKind::kMoe || each.mlp == model::MlpKind::kDenseAndMoe;
  });
  if (moe != spec.layers.end()) {
    groups.emplace_back("experts", moe->mlp_formats.experts);
    if (spec.moe.shared_intermediate > 0) groups.emplace_back("shared", moe->mlp_formats.shared);
  }
  std::string text;
  // Groups of one format together.
  std::vector<model::WeightFormat> seen;
  for (const auto& [group, format] : groups) {
    if (std::find(seen.begin(), seen.end(), format) != seen.end()) continue;
    seen.push_back(format);
    std::string names;
    for (const auto& [other, other_format] : groups) {
      if (other_format == format) names += (names.empty() ? "" : " ") + std::string(other);
    }
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", name(format), names);
  }
  return fmt::format("{}; {}; cache {}", spec.quantisation, text,
                     spec.kv_format ? name(*spec.kv_format) : "as the server chooses");
}

std::string layers_table(const Analysis& analysis, const TextStyle& style) {
  TextTable table({{"layers"}, {"attention"}, {"feed-forward"}});
  for (const auto& run : layer_runs(analysis.spec)) {
    const auto range =
        run.count() == 1 ? fmt::format("{}", run.first) : fmt::format("{}-{}", run.first, run.last);
    table.add_row({(run.pattern.front()->is_mtp ? "MTP " : "") + range, describe_attention(run),
                   describe_mlp(run)});
  }
  return table.str(style);
}

std::string weights_table(const Analysis& analysis, const TextStyle& style) {
  using enum TextTable::Align;
  const auto& parallel = analysis.options.parallel;
  TextTable table({{"weights"},
                   {"parameters", kRight},
                   {"active", kRight},
                   {"stored", kRight},
                   {fmt::format("rank, tp {} ep {}", parallel.tp, parallel.ep), kRight}});
  const auto add = [&](const std::string& label, const model::PartWeights& part) {
    table.add_row({label, count_text(part.parameters), count_text(part.active_parameters),
                   size_text(part.bytes), size_text(part.rank_bytes)});
  };
  model::PartWeights mtp;
  for (const auto& part : analysis.weights.parts) {
    if (part.is_mtp) {
      mtp += part;
    } else {
      auto label = std::string(name(part.part));
      std::replace(label.begin(), label.end(), '_', ' ');
      add(label, part);
    }
  }
  table.add_rule();
  add(analysis.weights.approximate ? "model (estimated)" : "model", total(analysis.weights, false));
  if (mtp.parameters > 0) add("MTP", mtp);
  return table.str(style);
}

std::string cache_table(const Analysis& analysis, const TextStyle& style) {
  using enum TextTable::Align;
  TextTable table({{"cache, bytes a token"},
                   {"layer", kRight},
                   {"index key", kRight},
                   {"model", kRight},
                   {"index keys", kRight},
                   {"MTP", kRight}});
  const auto number = [](double bytes) {
    return bytes == static_cast<double>(static_cast<std::int64_t>(bytes))
               ? fmt::format("{:.0f}", bytes)
               : fmt::format("{:.1f}", bytes);
  };
  const auto add = [&](model::KvFormat format, const model::ModelCache& main,
                       const model::ModelCache& mtp) {
    const auto row =
        layer_cache(typical_layer(analysis.spec), format, analysis.options.parallel.tp);
    table.add_row({std::string(name(format)), number(row.kv_bytes_per_token()),
                   number(row.index_bytes_per_token()), number(main.kv_bytes_per_token),
                   number(main.index_bytes_per_token),
                   number(mtp.kv_bytes_per_token + mtp.index_bytes_per_token)});
  };
  add(model::KvFormat::kBf16, analysis.cache_bf16, analysis.mtp_cache_bf16);
  add(model::KvFormat::kFp8, analysis.cache_fp8, analysis.mtp_cache_fp8);
  return table.str(style);
}

std::string aiconfigurator(const Analysis& analysis, const TextStyle& style) {
  const auto& mapping = analysis.aiconfigurator;
  const auto operations = joined(mapping.context_operations, ", ") + " / " +
                          joined(mapping.generation_operations, ", ");
  std::string text;
  if (mapping.family.empty()) {
    text += paragraph("AIC 0.12",
                      fmt::format("{} is not known there; it takes:",
                                  mapping.architecture.empty() ? "an architecture without a name"
                                                               : mapping.architecture),
                      style);
  } else {
    text += paragraph("AIC 0.12",
                      fmt::format("{} as {}: {}", mapping.architecture, mapping.family, operations),
                      style);
  }
  for (const auto& need : mapping.needs) text += paragraph("", "- " + need, style);
  for (const auto& note : mapping.notes) text += paragraph("", "note: " + note, style);
  return text;
}

std::string kernels(const Analysis& analysis, const TextStyle& style) {
  const auto& support = analysis.kernels;
  std::string text;
  if (support.runs) {
    text += paragraph(
        "Kernels",
        fmt::format("run this attention at tp {}, on {} ({})", analysis.options.parallel.tp,
                    model::kKernelArchitecture, model::kKernelCards),
        style);
  } else {
    text += paragraph("Kernels", "do not run it: " + joined(support.reasons, "; "), style);
  }
  return text +
         paragraph("", "without such a card: " + joined(model::works_everywhere(), "; "), style);
}

std::string comparison(std::string_view label, const model::NearestModel& other,
                       const TextStyle& style, bool in_full) {
  std::string text =
      paragraph(label, other.name + ": " + verdict(other.differences, other.name), style);
  if (other.differences.empty()) return text;
  if (!in_full) {
    std::string groups;
    const auto& found = other.differences;
    for (std::size_t i = 0; i < found.size();) {
      const auto meaning = found[i].meaning;
      std::string names;
      for (; i < found.size() && found[i].meaning == meaning; ++i) {
        names += (names.empty() ? "" : ", ") + found[i].what;
      }
      groups += fmt::format("{}{}: {}", groups.empty() ? "" : "; ", title(meaning), names);
    }
    return text + paragraph("", groups, style);
  }
  TextTable table({{"meaning"}, {"what"}, {"this"}, {"other"}});
  auto last = model::DifferenceMeaning::kNumber;
  bool first = true;
  for (const auto& difference : other.differences) {
    const bool starts = first || difference.meaning != last;
    if (starts && !first) table.add_rule();
    table.add_row({starts ? std::string(title(difference.meaning)) : "", difference.what,
                   difference.left, difference.right});
    last = difference.meaning;
    first = false;
  }
  return text + '\n' + table.str(style);
}

}  // namespace

std::string analyze_text(const Analysis& analysis, const TextStyle& style) {
  const auto& spec = analysis.spec;
  const auto& layer = typical_layer(spec);
  std::string text = toned(spec.name, Tone::kStrong, style);
  if (!spec.model_type.empty()) text += "  " + spec.model_type;
  if (!spec.architecture.empty()) text += "  " + spec.architecture;
  text += "\n\n";
  text += paragraph("Sparse", method(analysis), style);
  text += paragraph("Attention", geometry(layer), style);
  if (layer.indexer) text += paragraph("Indexer", indexer_text(layer), style);
  if (spec.moe.routed_experts > 0) {
    text += paragraph(
        "MoE",
        fmt::format("{} experts of width {}, {} a token, {} shared", spec.moe.routed_experts,
                    spec.moe.intermediate, spec.moe.experts_per_token, spec.moe.shared_experts),
        style);
  }
  text += paragraph("Stored", formats(analysis), style);
  text += '\n' + layers_table(analysis, style);
  text += '\n' + weights_table(analysis, style);
  text += '\n' + cache_table(analysis, style) + '\n';
  if (const auto& scores = analysis.score_buffer) {
    text += paragraph(
        "Scores",
        fmt::format("a prefill chunk of {} tokens at {} tokens of context holds {} of scores; {} "
                    "tokens stay within {}",
                    scores->chunk, scores->context, size_text(scores->bytes),
                    scores->chunk_within_budget, size_text(scores->budget)),
        style);
  }
  text += aiconfigurator(analysis, style);
  text += kernels(analysis, style);
  if (analysis.nearest) text += comparison("Nearest", *analysis.nearest, style, false);
  if (analysis.against) text += comparison("Against", *analysis.against, style, true);
  return text;
}

}  // namespace dsaperf::report
