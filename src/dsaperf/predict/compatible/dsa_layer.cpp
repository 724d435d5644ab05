#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/chosen_rows.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/predict/compatible/rows_as_asked.hpp"
#include "dsaperf/predict/compatible/sparse_kernels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace dsaperf::predict::compatible {
namespace {

using perfdb::Phase;

// Rows of fp8 caches are kept apart by the kernel that ran; a query asks for one bucket first.
enum class Bucket { kTrtllm, kFlashmla };
constexpr std::size_t kBuckets = 2;

struct BucketSet {
  bool trtllm = false;
  bool flashmla = false;
};

BucketSet buckets_of(const perfdb::DsaSlice& slice) {
  const std::string_view kernel = slice.kernel_source;
  if (slice.kv_dtype == "bfloat16") return {.trtllm = true, .flashmla = true};
  if (kernel.ends_with("_indexer_trtllm")) return {.trtllm = true};
  if (kernel.ends_with("_flashmla_sparse")) return {.flashmla = true};
  if (kernel.find("dense_mha_trtllm_ragged") != std::string_view::npos) {
    return {.trtllm = true, .flashmla = true};
  }
  if (kernel.find("trtllm") != std::string_view::npos) return {.trtllm = true};
  return {.flashmla = true};
}

// 2 bytes an element: what collectives of hidden states move.
constexpr double kLatentElements = 576;
constexpr double kIndexKeyElements = 128;

// The bound of a collective counts only as a ratio of sizes.
class SizeBound final : public Bound {
 public:
  double at(const Point& point) const override { return point[0]; }
};

}  // namespace

namespace {

using BucketSamples = std::array<std::vector<LatencyGrid::Sample>, kBuckets>;

// Where several rows have a point the first source counts and, within it, the last row: samples go
// in from the last source to the first, and a grid keeps the last of equal ones.
BucketSamples bucket_samples(const perfdb::DsaTable& table, const LayerKind& kind, bool shared,
                             std::size_t sources) {
  struct Choice {
    bool wanted = false;
    BucketSet buckets;
  };
  std::vector<Choice> choices(table.slices.size());
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const auto& slice = table.slices[i];
    choices[i] = {.wanted = slice.shares_selection == shared &&
                            slice.architecture == kind.architecture &&
                            slice.mla_dtype == kind.fmha_dtype && slice.kv_dtype == kind.kv_dtype &&
                            slice.gemm_dtype == kind.gemm_dtype,
                  .buckets = buckets_of(slice)};
  }
  BucketSamples samples;
  for (auto source = static_cast<std::int32_t>(sources); source-- > 0;) {
    for (const auto& row : table.rows) {
      if (row.source != source) continue;
      const auto& choice = choices[static_cast<std::size_t>(row.slice)];
      if (!choice.wanted) continue;
      const LatencyGrid::Sample sample{
          .at = table.phase == Phase::kContext
                    ? std::array<std::int64_t, kMaxAxes>{row.heads, row.past_tokens, row.new_tokens,
                                                         row.batch}
                    : std::array<std::int64_t, kMaxAxes>{row.heads, row.batch, row.total()},
          .latency = row.latency.millis()};
      if (choice.buckets.trtllm)
        samples[static_cast<std::size_t>(Bucket::kTrtllm)].push_back(sample);
      if (choice.buckets.flashmla)
        samples[static_cast<std::size_t>(Bucket::kFlashmla)].push_back(sample);
    }
  }
  return samples;
}

}  // namespace

std::vector<LatencyGrid::Sample> samples_of(const perfdb::DsaTable& table, const LayerKind& kind,
                                            bool shares_selection, std::size_t sources) {
  auto samples = bucket_samples(table, kind, shares_selection, sources);
  auto& first = samples[static_cast<std::size_t>(Bucket::kTrtllm)];
  return std::move(first.empty() ? samples[static_cast<std::size_t>(Bucket::kFlashmla)] : first);
}

LatencyGrid grid_of(const DsaBound& bound, Phase phase, bool shares_selection,
                    std::vector<LatencyGrid::Sample> samples) {
  if (phase == Phase::kGeneration)
    return {3, std::move(samples), std::make_shared<GenerationBound>(bound)};
  const auto kind = shares_selection ? BoundKind::kSharedSelection : BoundKind::kFull;
  return {4, std::move(samples), std::make_shared<ContextBound>(bound, kind)};
}

// Full layers and layers that share a selection, each by bucket; a bucket without rows has no grid.
struct DsaLayer::Grids {
  Phase phase = Phase::kContext;
  LayerKind kind;
  std::optional<DsaBound> bound;
  std::array<std::optional<LatencyGrid>, kBuckets> full;
  std::array<std::optional<LatencyGrid>, kBuckets> shared;

  static const LatencyGrid* first_of(const std::array<std::optional<LatencyGrid>, kBuckets>& grids,
                                     Bucket asked) {
    const auto& own = grids[static_cast<std::size_t>(asked)];
    if (own) return &*own;
    const auto& flashmla = grids[static_cast<std::size_t>(Bucket::kFlashmla)];
    if (flashmla) return &*flashmla;
    const auto& trtllm = grids[static_cast<std::size_t>(Bucket::kTrtllm)];
    return trtllm ? &*trtllm : nullptr;
  }
};

// What context parallelism adds to a layer; read when a layer is first asked for it.
struct DsaLayer::Exchange {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::string system, backend, version, architecture;

  struct Tables {
    SparseKernelCurve scores, topk_top_last, topk_flat;
    std::map<int, LatencyGrid> all_gather;  // by ranks, over elements of half precision
  };
  mutable std::once_flag once;
  mutable std::optional<Result<Tables>> tables;

  const Result<Tables>& get() const {
    std::call_once(once, [this] { tables = read(); });
    return *tables;
  }
  Result<Tables> read() const;
};

Result<DsaLayer::Exchange::Tables> DsaLayer::Exchange::read() const {
  const std::string prefix = architecture == "GlmMoeDsaForCausalLM" ? "glm5" : "dsv32";
  const auto table = [&](const char* kernel) {
    return perfdb::load_sparse_kernel_table(*tree, system, backend, version,
                                            prefix + "_" + kernel + "_module_perf.parquet")
        .map_error([&](Error error) {
          return std::move(error).with_context("context parallelism of " + architecture);
        });
  };
  DSAPERF_TRY_ASSIGN(const auto scores, table("mqa_logits"));
  DSAPERF_TRY_ASSIGN(const auto topk, table("topk"));
  DSAPERF_TRY_ASSIGN(const auto nccl, perfdb::load_collective_table(*tree, system, "nccl"));
  std::map<int, std::vector<LatencyGrid::Sample>> samples;
  for (auto row = nccl.rows.rbegin(); row != nccl.rows.rend();
       ++row) {  // of equal sizes the first row counts
    const auto& kind = nccl.kinds[static_cast<std::size_t>(row->kind)];
    if (kind.operation != "all_gather" || kind.dtype != "half") continue;
    samples[row->gpus].push_back({.at = {row->elements}, .latency = row->latency.millis()});
  }
  Tables found{.scores = SparseKernelCurve(scores, ""),
               .topk_top_last = SparseKernelCurve(topk, "top_last"),
               .topk_flat = SparseKernelCurve(topk, "flat"),
               .all_gather = {}};
  for (auto& [gpus, own] : samples) {
    found.all_gather.try_emplace(gpus, 1, std::move(own), std::make_shared<SizeBound>());
  }
  return found;
}

struct DsaTables::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::string system, backend, version;
  perfdb::SystemFile figures;
  std::array<RowsAsAsked<perfdb::DsaTable, perfdb::DsaChoice>, 2> tables;  // by phase
  struct Made {
    LayerKind kind;
    Phase phase = Phase::kContext;
    DsaLayer layer;
  };
  std::vector<Made> made;  // every layout of a model asks for the same

  Result<const perfdb::DsaTable*> table(const LayerKind& kind, Phase phase) {
    const perfdb::DsaChoice choice{.architecture = kind.architecture,
                                   .mla_dtype = kind.fmha_dtype,
                                   .kv_dtype = kind.kv_dtype,
                                   .gemm_dtype = kind.gemm_dtype};
    return tables[static_cast<std::size_t>(phase)].of(choice, [&](const auto& only) {
      return perfdb::load_dsa_rows(*tree, system, backend, version, phase, only);
    });
  }
};

DsaTables::DsaTables(std::unique_ptr<State> state) : state_(std::move(state)) {
}
DsaTables::DsaTables(DsaTables&&) noexcept = default;
DsaTables& DsaTables::operator=(DsaTables&&) noexcept = default;
DsaTables::~DsaTables() = default;

const std::string& DsaTables::version() const {
  return state_->version;
}

Result<DsaTables> DsaTables::open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                  std::string_view system, std::string_view backend,
                                  std::string_view version) {
  auto state = std::make_unique<State>();
  state->tree = std::move(tree);
  state->system = system;
  state->backend = backend;
  DSAPERF_TRY_ASSIGN(state->figures, state->tree->system(system));
  DSAPERF_TRY_ASSIGN(state->version, state->tree->resolve_version(system, backend, version));
  return DsaTables(std::move(state));
}

Result<DsaLayer> DsaTables::layer(const LayerKind& kind, Phase phase) {
  for (const auto& known : state_->made) {
    if (known.phase == phase && known.kind == kind) return known.layer;
  }
  DSAPERF_TRY_ASSIGN(const auto* read, state_->table(kind, phase));
  const auto& table = *read;
  auto grids = std::make_shared<DsaLayer::Grids>();
  grids->phase = phase;
  grids->kind = kind;
  DSAPERF_TRY_ASSIGN(grids->bound, DsaBound::make(state_->figures, kind.architecture,
                                                  kind.fmha_dtype, kind.kv_dtype, kind.gemm_dtype));

  for (const bool shared : {false, true}) {
    auto samples = bucket_samples(table, kind, shared, table.sources.size());
    for (std::size_t b = 0; b < kBuckets; ++b) {
      if (samples[b].empty()) continue;
      (shared ? grids->shared : grids->full)[b] =
          grid_of(*grids->bound, phase, shared, std::move(samples[b]));
    }
  }
  if (DsaLayer::Grids::first_of(grids->full, Bucket::kTrtllm) == nullptr) {
    return fail(Errc::kNotFound,
                "{} {} on {}: no {} rows of {} with {} cache, {} attention, {} GEMMs",
                state_->backend, state_->version, state_->system, perfdb::name(phase),
                kind.architecture, kind.kv_dtype, kind.fmha_dtype, kind.gemm_dtype);
  }
  DsaLayer layer;
  layer.grids_ = std::move(grids);
  auto exchange = std::make_shared<DsaLayer::Exchange>();
  exchange->tree = state_->tree;
  exchange->system = state_->system;
  exchange->backend = state_->backend;
  exchange->version = state_->version;
  exchange->architecture = kind.architecture;
  layer.exchange_ = std::move(exchange);
  state_->made.push_back({.kind = kind, .phase = phase, .layer = layer});
  return layer;
}

namespace {

Point point_of(const LayerShape& shape) {
  const auto d = [](std::int64_t value) { return static_cast<double>(value); };
  if (shape.phase == Phase::kContext)
    return {d(shape.heads), d(shape.past_tokens), d(shape.new_tokens), d(shape.batch)};
  // Several new tokens of a request count as so many requests of one (the peer's rule for drafts).
  return {d(shape.heads), d(shape.batch * shape.new_tokens), d(shape.past_tokens + 1)};
}

Source source_of(Found found) {
  switch (found) {
    case Found::kExact:
      return Source::kMeasured;
    case Found::kInterior:
      return Source::kInterpolated;
    case Found::kHeld:
      break;
  }
  return Source::kExtrapolated;
}

Result<GridAnswer> ask(const LatencyGrid& grid, const Point& point) {
  const auto answer = grid.at(point);
  if (!answer) return fail(Errc::kNotFound, "no row of the table has a latency to start from");
  return *answer;
}

}  // namespace

Result<LayerLatency> DsaLayer::at(const LayerShape& shape) const {
  DSAPERF_TRY(check_shape(shape));
  if (shape.topk > 0 || shape.index_heads > 0) {
    return fail(Errc::kUnsupported,
                "aiconfigurator knows no other topk or index heads: --method stages does");
  }
  if (shape.context_parallel > 1 && shape.phase == Phase::kContext) return context_parallel(shape);
  const auto point = point_of(shape);
  const auto* shared =
      shape.full_layer_share < 1 ? Grids::first_of(grids_->shared, Bucket::kTrtllm) : nullptr;
  DSAPERF_TRY_ASSIGN(const auto full, ask(*Grids::first_of(grids_->full, Bucket::kTrtllm), point));
  LayerLatency answer{.time = Micros::from_millis(full.latency),
                      .low = {},
                      .high = {},
                      .source = source_of(full.found),
                      .warnings = {}};
  if (shape.full_layer_share < 1 && shared == nullptr) {
    answer.warnings.add(
        "no rows of layers that share a selection: all layers counted as full ones");
  } else if (shared != nullptr) {
    DSAPERF_TRY_ASSIGN(const auto rest, ask(*shared, point));
    const double w = shape.full_layer_share;
    answer.time = Micros::from_millis(w * full.latency + (1 - w) * rest.latency);
    answer.source = std::max(answer.source, source_of(rest.found));
  }
  return answer;
}

// aiconfigurator's model of SGLang's prefill context parallelism: each rank runs the layer on its
// part of the tokens, except that it scores and selects over all of them in equal shares, and
// gathers index keys and latents of the other ranks.
Result<LayerLatency> DsaLayer::context_parallel(const LayerShape& shape) const {
  const auto& read = exchange_->get();
  if (!read) return tl::unexpected(read.error());
  const auto& tables = *read;
  const int ranks = shape.context_parallel;
  const auto gather = tables.all_gather.find(ranks);
  if (gather == tables.all_gather.end()) {
    return fail(Errc::kNotFound, "no all-gather over {} ranks was measured", ranks);
  }
  auto part = point_of(shape);
  const std::int64_t own_tokens = ceil_div(shape.new_tokens, ranks);
  part[2] = static_cast<double>(own_tokens);
  const auto tokens = static_cast<double>(shape.batch * shape.new_tokens);
  const auto gathered = [&](double elements) -> double {
    const auto answer = gather->second.at({tokens * elements});
    return answer ? answer->latency : 0;
  };
  const double latents = gathered(kLatentElements);

  double full = 0;
  DSAPERF_TRY_ASSIGN(const auto base, ask(*Grids::first_of(grids_->full, Bucket::kFlashmla), part));
  const auto at = [&](const SparseKernelCurve& curve, std::int64_t new_tokens) {
    return curve.at(shape.batch, new_tokens, shape.past_tokens);
  };
  DSAPERF_TRY_ASSIGN(const double scores_all, at(tables.scores, shape.new_tokens));
  DSAPERF_TRY_ASSIGN(const double scores_own, at(tables.scores, own_tokens));
  DSAPERF_TRY_ASSIGN(const double topk_all, at(tables.topk_top_last, shape.new_tokens));
  DSAPERF_TRY_ASSIGN(const double topk_own, at(tables.topk_flat, own_tokens));
  full = base.latency + (scores_all / ranks - scores_own) + (topk_all / ranks - topk_own) +
         gathered(kIndexKeyElements) + latents;
  LayerLatency answer{.time = Micros::from_millis(full),
                      .low = {},
                      .high = {},
                      .source = Source::kModelled,
                      .warnings = {}};
  const auto* shared =
      shape.full_layer_share < 1 ? Grids::first_of(grids_->shared, Bucket::kFlashmla) : nullptr;
  if (shared != nullptr) {
    DSAPERF_TRY_ASSIGN(const auto rest, ask(*shared, part));
    const double w = shape.full_layer_share;
    answer.time = Micros::from_millis(w * full + (1 - w) * (rest.latency + latents));
  }
  return answer;
}

BoundParts DsaLayer::bound(const LayerShape& shape) const {
  const auto p = point_of(shape);
  if (shape.phase == Phase::kGeneration) return grids_->bound->generation(p[0], p[1], p[2]);
  const auto full = grids_->bound->context(p[0], p[1], p[2], p[3], BoundKind::kFull);
  if (shape.full_layer_share >= 1) return full;
  const auto rest = grids_->bound->context(p[0], p[1], p[2], p[3], BoundKind::kSharedSelection);
  const double w = shape.full_layer_share;
  return {.math_ms = w * full.math_ms + (1 - w) * rest.math_ms,
          .memory_ms = w * full.memory_ms + (1 - w) * rest.memory_ms};
}

}  // namespace dsaperf::predict::compatible
