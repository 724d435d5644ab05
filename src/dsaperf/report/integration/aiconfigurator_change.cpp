// What bringing a model into AIConfigurator takes, written from what analyze found.

#include "dsaperf/report/integration.hpp"
#include "dsaperf/report/integration/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace dsaperf::report {
namespace {

using namespace integration;

struct Formula {
  std::string_view stage;
  std::string_view flops;
  std::string_view bytes;
};

// With the symbols of docs/glossary.md; T new tokens, P pairs of a new and a token it attends to, V
// pairs of a new and a visible token, C tokens in the cache after the pass.
constexpr Formula kFormulas[] = {
    {"qkv_a_projection", "2 T hidden (q_lora + kv_lora + rope [+ index_dim + index_heads])",
     "weights; T (hidden + outputs) 2"},
    {"norm_rope", "none counted", "T (q_lora + kv_lora + rope) 4"},
    {"q_b_projection", "2 T q_lora heads (nope + rope)", "weights; T (q_lora + outputs) 2"},
    {"absorb", "2 T heads nope kv_lora", "W_UK; T heads (nope + kv_lora) 2"},
    {"cache_write", "none", "T times the cache row"},
    {"indexer_projection", "2 T q_lora index_heads index_dim",
     "weights; T (q_lora + index_heads index_dim) 2"},
    {"indexer_quantise", "none counted", "T index_heads (index_dim 3 + 4)"},
    {"index_cache_write", "none", "T times the index key"},
    {"indexer_scores", "2 V index_heads index_dim", "C times the index key; V 4 written"},
    {"topk", "none", "V 4 read; T topk 4 written"},
    {"attention", "2 P heads (2 kv_lora + rope)",
     "decode: P times the cache row; prefill: C times the cache row; T heads kv_lora 4"},
    {"v_up", "2 T heads kv_lora v", "W_UV; T heads (kv_lora + v) 2"},
    {"o_projection", "2 T heads v hidden", "weights; T (heads v + hidden) 2"},
};

const Formula* formula_of(std::string_view stage) {
  const auto* found = std::find_if(std::begin(kFormulas), std::end(kFormulas),
                                   [&](const Formula& each) { return each.stage == stage; });
  return found == std::end(kFormulas) ? nullptr : found;
}

// The layer that most of the work is for: one with an indexer of its own, else the first.
const Json& typical(const Json& analyze) {
  static const Json kNone;
  const auto& layers = list_at(analyze, {"layers"});
  for (const auto& layer : layers) {
    if (text_at(layer, {"indexer_role"}) == "full") return layer;
  }
  return layers.empty() ? kNone : layers[0];
}

void bullets(const Json& lines, std::string& text) {
  for (const auto& line : lines) {
    if (line.is_string()) text += "- " + line.get<std::string>() + "\n";
  }
}

std::string joined(const Json& names) {
  std::string text;
  for (const auto& name : names) {
    if (name.is_string()) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  }
  return text;
}

void write_standing(const Json& analyze, std::string& text) {
  const auto& mapping = at(analyze, {"aiconfigurator"});
  const auto family = text_at(mapping, {"family"});
  const auto architecture = text_at(mapping, {"architecture"});
  text += "## Where it stands (aiconfigurator 0.12)\n\n";
  if (family.empty()) {
    text += fmt::format("The architecture `{}` is not known to it.\n",
                        architecture.empty() ? "(config.json names none)" : architecture);
  } else {
    text += fmt::format(
        "`{}` is known as {}{}.\n", architecture, family,
        at(mapping, {"exact"}) == true
            ? ", with the sizes that its tables assume: rows of its own are all that is needed"
            : ", with differences that change its numbers");
  }
  const auto context = joined(list_at(mapping, {"context_operations"}));
  const auto generation = joined(list_at(mapping, {"generation_operations"}));
  if (!context.empty()) {
    text +=
        fmt::format("Attention operations: {} in prefill, {} in decode.\n", context, generation);
  }
  if (!list_at(mapping, {"needs"}).empty()) text += "\nNeeded:\n\n";
  bullets(list_at(mapping, {"needs"}), text);
  if (!list_at(mapping, {"notes"}).empty()) text += "\nKnown deviations:\n\n";
  bullets(list_at(mapping, {"notes"}), text);
}

// Tables of attention that aiconfigurator 0.12 ships, by what analyze calls the attention.
struct KnownTables {
  std::string_view kind;
  std::string_view context, generation;
};
constexpr KnownTables kKnownTables[] = {
    {"dsa", "dsa_context_module_perf.parquet", "dsa_generation_module_perf.parquet"},
    {"gqa", "context_attention_perf.parquet", "generation_attention_perf.parquet"},
    {"sliding_window", "context_attention_perf.parquet", "generation_attention_perf.parquet"},
    {"block_sparse", "msa_context_module_perf.parquet", "msa_generation_module_perf.parquet"},
    {"compressed_sparse", "dsv4_csa_context_module_perf.parquet",
     "dsv4_csa_generation_module_perf.parquet"},
    {"heavily_compressed", "dsv4_hca_context_module_perf.parquet",
     "dsv4_hca_generation_module_perf.parquet"},
};

// One row a kind of attention in the model and phase.
void write_tables(const Json& analyze, std::string& text) {
  const auto& mapping = at(analyze, {"aiconfigurator"});
  text += "| attention | phase | operation | table |\n| --- | --- | --- | --- |\n";
  std::vector<std::string> kinds;
  for (const auto& layer : list_at(analyze, {"layers"})) {
    const auto kind = text_at(layer, {"attention"});
    if (kind.empty() || std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) continue;
    kinds.push_back(kind);
    const auto* known = std::find_if(std::begin(kKnownTables), std::end(kKnownTables),
                                     [&](const KnownTables& each) { return each.kind == kind; });
    const bool has = known != std::end(kKnownTables);
    for (const bool context : {true, false}) {
      const auto operations =
          joined(list_at(mapping, {context ? "context_operations" : "generation_operations"}));
      const auto own =
          fmt::format("{}_{}_module_perf.parquet", kind, context ? "context" : "generation");
      text += fmt::format(
          "| {} | {} | {} | `{}`{} |\n", spaced(kind), context ? "prefill" : "decode",
          has && !operations.empty() ? operations
                                     : fmt::format("a new one, as `{}DSAModule` is written",
                                                   context ? "Context" : "Generation"),
          has ? std::string(context ? known->context : known->generation) : own,
          has ? "" : " (new)");
    }
  }
}

void write_names(const Json& analyze, std::string& text) {
  text += "\n## Tables and operations\n\n";
  write_tables(analyze, text);
  text += fmt::format(
      "\nA row of a DSA table, and of a new one, is found by these fields. Layers that reuse "
      "another "
      "layer's selection have rows of their own, with `skip_indexer` in `op_name`.\n\n"
      "| field | type | unit and meaning |\n| --- | --- | --- |\n"
      "| `architecture` | string | `{}` |\n",
      text_at(analyze, {"aiconfigurator", "architecture"}));
  text +=
      "| `mla_dtype` | string | arithmetic of attention: `bfloat16` or `fp8` |\n"
      "| `kv_cache_dtype` | string | `bfloat16` or `fp8` |\n"
      "| `gemm_type` | string | projections: `bfloat16`, `fp8_block`, `nvfp4` |\n"
      "| `num_heads` | INT64 | attention heads of one rank |\n"
      "| `batch_size` | INT64 | requests |\n"
      "| `isl` | INT64 | prefill: new tokens a request; decode: 1 |\n"
      "| `step` | INT64 | tokens a request that are in the cache before |\n"
      "| `latency` | DOUBLE | ms, one layer, without the all-reduce |\n"
      "| `op_name` | string | kind of layer |\n"
      "\nINT64 and DOUBLE are exact: other widths, nulls and gzip are refused by its reader.\n";
}

void write_sizes(const Json& layer, std::string& text) {
  text += "\n## Sizes\n\n| symbol | value |\n| --- | ---: |\n";
  const auto rows = [&](const char* group, std::initializer_list<const char*> keys,
                        const char* prefix) {
    for (const char* key : keys) {
      const double value = number_at(layer, {group, key});
      if (value > 0) text += fmt::format("| {}{} | {} |\n", prefix, key, value);
    }
  };
  rows("geometry",
       {"hidden", "heads", "kv_heads", "head_dim", "q_lora", "kv_lora", "nope", "rope", "v",
        "window"},
       "");
  rows("indexer", {"heads", "dim", "topk", "pool", "block"}, "index_");
}

void write_formulas(const Json& layer, std::string& text) {
  const auto& stages = list_at(layer, {"stages"});
  if (stages.empty()) {
    text += fmt::format(
        "\n## Formulas\n\nThe attention of this model ({}) is not a list of the stages that are "
        "known here: its FLOPs and bytes have to be derived from its reference implementation, "
        "stage by stage, before a bound can be written.\n",
        spaced(text_at(layer, {"attention"})));
    return;
  }
  text +=
      "\n## Formulas\n\nT: new tokens of the batch; P: pairs of a new token and one it attends to "
      "(at most topk each); V: pairs of a new token and one that it sees; C: tokens in the cache. "
      "Heads are those of one rank. FLOPs are counted, bytes are bytes; bound of a stage in "
      "seconds = "
      "max(FLOPs / peak FLOP/s, bytes / HBM bytes/s); of the layer: the sum.\n\n"
      "| stage | FLOPs | bytes |\n| --- | --- | --- |\n";
  for (const auto& name : stages) {
    if (!name.is_string()) continue;
    const auto stage = name.get<std::string>();
    const auto* formula = formula_of(stage);
    if (formula != nullptr) {
      text += fmt::format("| {} | {} | {} |\n", spaced(stage), formula->flops, formula->bytes);
    }
  }
  const double topk = number_at(layer, {"indexer", "topk"});
  if (topk > 0) {
    text += fmt::format(
        "\nUp to {} tokens of a request nothing is selected: stages from the indexer projection to "
        "top-k fall away (index keys are still written), attention is dense. The table needs rows "
        "on "
        "both sides of that step, and interpolation must not cross it.\n",
        topk);
  }
}

void write_grid(const Json& evidence, bool is_dsa, std::string& text) {
  text +=
      "\n## Grid\n\nPrefill: batch 1, 2, ..., 256 times 18 lengths, at most 65,536 tokens; decode: "
      "batch 1, 2, ..., 1024 times 2^n - 1 cached tokens, at most 2^24 in all; heads of one rank: "
      "all, "
      "1/2, ..., 1/16 of the model's.";
  const auto& plan = integration::document_of(evidence, "collect");
  const auto& cases = at(plan, {"cases"});
  if (cases.is_array()) {
    text += fmt::format(
        " The standard plan for this model has {} cases, about {:.0f} minutes on one "
        "{}.",
        cases.size(), std::ceil(number_at(plan, {"estimated_minutes"})), text_at(plan, {"system"}));
  }
  text += "\n";
  if (!is_dsa) return;
  text += fmt::format(
      "\n```\ndsaperf collect {} -o rows --grid standard\ndsaperf db export rows "
      "--aiconfigurator systems --system h200_sxm\n```\n",
      text_at(evidence, {"config"}));
}

void write_memory(const Json& analyze, std::string& text) {
  text += "\n## Memory\n\n| term | bytes |\n| --- | ---: |\n";
  const auto row = [&](std::string_view term, const Json& value) {
    if (value.is_number()) text += fmt::format("| {} | {:.0f} |\n", term, value.get<double>());
  };
  row("weights, as stored", at(analyze, {"weights", "total", "bytes"}));
  for (const char* format : {"bf16", "fp8"}) {
    const auto& cache = at(analyze, {"cache", format});
    row(fmt::format("KV row, a layer and token, {}", format),
        at(cache, {"layer_kv_bytes_per_token"}));
    row(fmt::format("index key, a layer and token, {}", format),
        at(cache, {"layer_index_bytes_per_token"}));
    row(fmt::format("whole cache, a token, {}", format), at(cache, {"total_bytes_per_token"}));
  }
  row(fmt::format("f32 scores of a chunk of {} tokens at {}",
                  number_at(analyze, {"score_buffer", "chunk_tokens"}),
                  number_at(analyze, {"score_buffer", "context_tokens"})),
      at(analyze, {"score_buffer", "bytes"}));
  text +=
      "\nScales of fp8 cache rows, index keys and the score buffer are terms that its memory model "
      "leaves out for this family; layers that share a selection keep no index keys.\n";
}

}  // namespace

std::optional<std::string> aiconfigurator_change(const nlohmann::ordered_json& evidence) {
  const auto& analyze = document_of(evidence, "analyze");
  if (!analyze.is_object()) return std::nullopt;
  const auto& layer = typical(analyze);
  const bool is_dsa = text_at(layer, {"attention"}) == "dsa";
  auto text = fmt::format("# {} in AIConfigurator\n\n", text_at(analyze, {"name"}));
  write_standing(analyze, text);
  write_names(analyze, text);
  write_sizes(layer, text);
  write_formulas(layer, text);
  write_grid(evidence, is_dsa, text);
  write_memory(analyze, text);
  text +=
      "\n## Where in its source\n\n"
      "| file | change |\n| --- | --- |\n"
      "| `aiconfigurator_core/sdk/common.py` | the architecture and its model family |\n"
      "| `aiconfigurator_core/sdk/models/` | the family's list of operations for a prefill and a "
      "decode pass, its memory terms |\n"
      "| `aiconfigurator_core/sdk/operations/` | the operations above: key, bound, interpolation "
      "|\n"
      "| `aiconfigurator_core/systems/data/SYSTEM/sparse_attention/BACKEND/VERSION/` | the tables "
      "and "
      "`collection_meta.yaml` |\n"
      "| its compiled engine (Rust) | a new operation has to be added there too; a new "
      "architecture "
      "over an operation that it has does not |\n";
  return text;
}

}  // namespace dsaperf::report
