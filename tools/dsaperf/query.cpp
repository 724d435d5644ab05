#include "query.hpp"

#include "config_flag.hpp"
#include "db_tables.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/predict/layer_pass.hpp"
#include "dsaperf/report/query.hpp"
#include "dsaperf/serving/pass_model.hpp"
#include "dtype_flag.hpp"
#include "query_stages.hpp"
#include "systems_flag.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace dsaperf::tool {
namespace {

struct QueryOptions {
  std::string systems_root;
  predict::Tables tables{.system = "h200_sxm", .backend = "sglang", .version = ""};
  predict::LayerKind kind{.architecture = "DeepseekV32ForCausalLM"};
  predict::LayerShape shape;
  std::string phase = "context";
  std::string method = "stages";
  std::string from, output;
  std::string vary;
  std::string requests;
  std::int64_t chunk = 0, cached = 0;
  std::string config;
  bool stages = false;
  std::vector<std::string> warnings;  // of the model
  bool kv_is_given = false, backend_is_given = false;
  bool json = false;
};

Result<ExitCode> answer_one(QueryOptions options, predict::LayerPredictor& predictor,
                            predict::Method method) {
  options.shape.phase =
      options.phase == "context" ? perfdb::Phase::kContext : perfdb::Phase::kGeneration;
  DSAPERF_TRY(predict::check_shape(options.shape));
  options.shape = predict::after_cache_hit(options.shape, options.cached);
  report::LayerAnswer answer{
      .tables = options.tables, .kind = options.kind, .shape = options.shape, .method = method};
  const bool plain = options.requests.empty() && options.chunk == 0;
  if (!options.requests.empty()) {
    DSAPERF_TRY_ASSIGN(answer.requests, predict::parse_requests(options.requests));
    DSAPERF_TRY_ASSIGN(answer.latency, predict::at_requests(predictor, options.tables, options.kind,
                                                            options.shape, answer.requests));
  } else if (options.chunk > 0) {
    DSAPERF_TRY_ASSIGN(auto chunked, predict::at_chunks(predictor, options.tables, options.kind,
                                                        options.shape, options.chunk));
    answer.latency = std::move(chunked.total);
    answer.chunks = std::move(chunked.chunks);
  } else {
    DSAPERF_TRY_ASSIGN(answer.latency, predictor.at(options.tables, options.kind, options.shape));
  }
  if (options.config.empty() && !predict::has_known_sizes(options.kind.architecture))
    options.warnings.push_back(
        fmt::format("the sizes of a layer of {} are not known: DeepSeek-V3.2's are taken; a CONFIG "
                    "says its own",
                    options.kind.architecture));
  for (const auto& warning : options.warnings) answer.latency.warnings.add(warning);
  // aiconfigurator has no bound of what it has no table for.
  const auto bound = predictor.peer_bound(options.tables, options.kind, options.shape);
  if (bound && plain) answer.peer_bound = *bound;
  if (plain && method == predict::Method::kStages && options.shape.context_parallel <= 1) {
    DSAPERF_TRY_ASSIGN(answer.explanation,
                       predictor.explain(options.tables, options.kind, options.shape));
  }
  if (!options.vary.empty()) {
    DSAPERF_TRY_ASSIGN(const auto changes, predict::parse_changes(options.vary));
    DSAPERF_TRY_ASSIGN(answer.variations, predict::vary(predictor, options.tables, options.kind,
                                                        options.shape, changes));
  }
  if (auto version = predictor.version(options.tables)) {
    answer.tables.version = *std::move(version);
  } else if (answer.explanation) {
    answer.tables.version = answer.explanation->version;
  }
  for (const auto& warning : answer.latency.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (options.json) {
    print_document(report::json(answer));
  } else {
    std::fputs(report::text(answer, TextStyle::of_descriptor(1)).c_str(), stdout);
  }
  return ExitCode::kDone;
}

// Architecture and sizes from a model's config; sizes only where aiconfigurator holds others or
// none for the name.
Result<void> take_model(QueryOptions& options) {
  predict::LayerKind& kind = options.kind;
  DSAPERF_TRY_ASSIGN(const auto spec, model::load_model(options.config));
  options.warnings = spec.warnings;
  DSAPERF_TRY_ASSIGN(const auto shape, serving::ModelShape::of(spec));
  const auto& layer = model::typical_layer(spec);
  if (!layer.indexer)
    return fail(Errc::kUnsupported, "{}: its attention has no indexer", spec.name);
  kind.architecture = shape.architecture;
  const auto& g = layer.geometry;
  const auto size = [](int value) { return static_cast<double>(value); };
  const predict::LayerSizes sizes{.hidden = size(g.hidden),
                                  .q_lora = size(g.q_lora),
                                  .kv_lora = size(g.kv_lora),
                                  .nope = size(g.nope),
                                  .rope = size(g.rope),
                                  .v = size(g.v),
                                  .topk = size(layer.indexer->topk),
                                  .index_dim = size(layer.indexer->dim),
                                  .index_heads = size(layer.indexer->heads)};
  if (!(sizes == predict::known_sizes(kind.architecture))) kind.sizes = sizes;
  return {};
}

Result<ExitCode> query(QueryOptions options) {
  if (!options.config.empty() && !options.stages) DSAPERF_TRY(take_model(options));
  if (options.stages)
    return query_stages({.config = options.config,
                         .systems_root = options.systems_root,
                         .system = options.tables.system,
                         .phase = options.phase,
                         .heads = static_cast<int>(options.shape.heads),
                         .batch = options.shape.batch,
                         .new_tokens = options.shape.new_tokens,
                         .past_tokens = options.shape.past_tokens,
                         .kv = options.kv_is_given ? options.kind.kv_dtype : "",
                         .json = options.json});
  const auto method = predict::method_from_name(options.method);
  if (!method) return fail(Errc::kInvalidArgument, "no method '{}'", options.method);
  DSAPERF_TRY_ASSIGN(auto opened, predict::open_tables(options.systems_root, options.tables.backend,
                                                       options.backend_is_given));
  options.tables.backend = opened.backend;
  predict::LayerPredictor predictor(std::move(opened.tree), *method);
  if (options.from.empty()) return answer_one(options, predictor, *method);
  DSAPERF_TRY_ASSIGN(const auto summary,
                     predict::answer_file(options.from, options.output, predictor));
  if (options.json) {
    print_document(report::json(summary));
  } else {
    std::fputs(report::text(summary).c_str(), stdout);
  }
  return ExitCode::kDone;
}

// Which tables answer.
void add_tables(Command& command, QueryOptions& options) {
  add_systems(command, options.systems_root);
  command.add_option("--system", options.tables.system, "Card").show_default();
  command
      .add_option("--backend", options.tables.backend, "trtllm, sglang, vllm, or dsaperf: our own")
      .show_default();
  command.add_option("--version", options.tables.version,
                     "current, previous, next or a number (default: current)");
}

// What is asked of: a layer and the sizes of its pass.
void add_layer(Command& command, QueryOptions& options) {
  command
      .add_option("--arch", options.kind.architecture,
                  "Architecture of the model, where there is no CONFIG")
      .show_default();
  command.add_option("--phase", options.phase, "context: prefill; generation: decode")
      .one_of({"context", "generation"})
      .show_default();
  const auto add_size = [&](const char* flag, std::int64_t& size, std::int64_t least,
                            const char* what) {
    return command.add_option(flag, size, what).between(least, predict::kLargestSize);
  };
  add_size("--heads", options.shape.heads, 1, "Attention heads of one rank");
  add_size("--batch", options.shape.batch, 1, "Requests").show_default();
  add_size("--new", options.shape.new_tokens, 1, "New tokens of a request").show_default();
  add_size("--past", options.shape.past_tokens, 0, "Tokens of a request that are in the cache")
      .show_default();
  command.add_option("--kv", options.kind.kv_dtype, "Cache: bfloat16 (or bf16), fp8")
      .show_default();
  command.add_option("--gemm", options.kind.gemm_dtype, "Projections: bfloat16, fp8_block, nvfp4")
      .show_default();
  command.add_option("--fmha", options.kind.fmha_dtype, "Attention arithmetic").show_default();
  command
      .add_option("--full-fraction", options.shape.full_layer_share,
                  "Part of the layers that run their own indexer")
      .between(0.0, 1.0)
      .show_default();
  command.add_option("--cp", options.shape.context_parallel, "Context-parallel ranks (prefill)")
      .between(1, 1024)
      .show_default();
}

// How it is answered, and what else may be asked of the same layer.
void add_questions(Command& command, QueryOptions& options) {
  command
      .add_option("--method", options.method,
                  "stages: a model of the stages and the rows near the question; compatible: "
                  "aiconfigurator's own answers")
      .one_of({"stages", "compatible"})
      .show_default();
  command
      .add_option("--vary", options.vary,
                  "What a change would cost: topk=512..4096,heads=8|16,kv=fp8 (heads, batch, new, "
                  "past, topk, index_heads, kv)")
      .readable_by(predict::parse_changes);
  command
      .add_option("--requests", options.requests,
                  "A pass of unlike requests, COUNTxNEW+PAST each: 3x512+4096,1x2048")
      .readable_by(predict::parse_requests);
  command
      .add_option("--chunk", options.chunk,
                  "Prefill in chunks of so many tokens, each after all before it")
      .positive();
  command
      .add_option("--cached", options.cached, "Of --new tokens, how many a prefix-cache hit spares")
      .not_negative();
}

// Flags of which one has no use for the other.
Result<void> check_together(const Command& command, const QueryOptions& options) {
  // Rows say it themselves; stages are counted, whatever a table holds.
  std::vector<std::string> unused = {"--version",       "--arch",  "--gemm", "--fmha",
                                     "--full-fraction", "--cp",    "--vary", "--chunk",
                                     "--requests",      "--cached"};
  if (command.option("--stages").given()) {
    unused.insert(unused.end(), {"--backend", "--method", "--from"});
    return command.check_none_given("--stages", unused);
  }
  if (command.option("--from").given()) {
    unused.insert(unused.end(), {"CONFIG", "--system", "--phase", "--heads", "--batch", "--new",
                                 "--past", "--kv"});
    return command.check_none_given("--from", unused);
  }
  if (!command.option("--heads").given()) return missing("--heads (or --from)");
  if (options.cached > options.shape.new_tokens)
    return fail(Errc::kInvalidArgument, "--cached {} is more than --new {}", options.cached,
                options.shape.new_tokens);
  return {};
}

void declare_query(Command& command) {
  auto options = std::make_shared<QueryOptions>();
  add_tables(command, *options);
  add_layer(command, *options);
  add_questions(command, *options);
  const auto from =
      command.add_option("--from", options->from, "Answer every row of a CSV file (or .csv.gz)");
  const auto output =
      command.add_option("-o,--output", options->output, "Where --from writes (.gz: compressed)");
  from.needs(output);
  output.needs(from);
  const auto config = add_config(command, options->config);
  const auto stages =
      command.add_flag("--stages", options->stages,
                       "What each stage must compute and move, its bound, and the tables' rows");
  stages.needs(config);
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf query --system h200_sxm --backend sglang --heads 16 --new 4096\n"
      "  dsaperf query --phase generation --heads 16 --batch 16 --past 8192 --kv bf16\n"
      "  dsaperf query --heads 16 --new 4096 --past 32768 --vary topk=512..4096,heads=8..128\n"
      "  dsaperf query --heads 16 --new 32768 --cached 4096 --chunk 8192\n"
      "  dsaperf query --phase generation --heads 16 --requests 8x1+4096,2x1+65536\n"
      "  dsaperf query --from operators.csv.gz -o answers.csv\n"
      "  dsaperf query deepseek-ai/DeepSeek-V3.2 --stages --heads 16 --new 4096");
  command.check([&command, options] { return check_together(command, *options); });
  command.callback([&command, options] {
    options->kv_is_given = command.option("--kv").given();
    options->backend_is_given = command.option("--backend").given();
    spell_as_tables_do(
        {&options->kind.kv_dtype, &options->kind.gemm_dtype, &options->kind.fmha_dtype});
    return query(*options);
  });
}

}  // namespace

void add_query(Command& app) {
  app.add_command("query", "Latency of one attention layer, or of every row of a CSV file",
                  declare_query);
}

}  // namespace dsaperf::tool
