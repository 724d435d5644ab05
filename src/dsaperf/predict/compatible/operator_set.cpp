#include "dsaperf/predict/compatible/operator_set.hpp"

#include "dsaperf/perfdb/chosen_rows.hpp"
#include "dsaperf/predict/compatible/rows_as_asked.hpp"

#include <array>
#include <map>
#include <optional>

namespace dsaperf::predict::compatible {
namespace {

std::string_view mla_file(MlaPart part, perfdb::Phase phase) {
  const bool context = phase == perfdb::Phase::kContext;
  switch (part) {
    case MlaPart::kKernel:
      return context ? "context_mla_perf.parquet" : "generation_mla_perf.parquet";
    case MlaPart::kModule:
      return context ? "mla_context_module_perf.parquet" : "mla_generation_module_perf.parquet";
    case MlaPart::kBesideDeepEp:
      break;
  }
  return context ? "wideep_context_mla_perf.parquet" : "wideep_generation_mla_perf.parquet";
}

}  // namespace

struct OperatorSet::State {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  perfdb::SystemFile system;
  std::string backend;
  std::string version;
  std::optional<DsaTables> dsa;
  std::shared_ptr<SharedLayer::Predictor> by_stages;
  std::optional<modelled::OperatorCosts> costs;  // of the rest, where it is modelled
  bool own_gemms = false;  // measured ones are taken although the rest is modelled
  std::optional<perfdb::GemmTable> gemm;
  std::map<std::pair<std::string, GemmTimes>, std::shared_ptr<const GemmSites>> gemm_sites;
  RowsAsAsked<perfdb::MoeTable, perfdb::MoeChoice> moe;
  std::optional<perfdb::CommTable> all_reduce;
  std::optional<perfdb::CommTable> collectives;
  std::map<std::string, perfdb::MlaTable, std::less<>> mla;
  std::optional<perfdb::MlaBmmTable> bmm;
  std::array<std::optional<perfdb::DeepEpTable>, 2> deepep;  // by phase, SGLang's
  std::optional<perfdb::MoeA2aTable> exchanges;              // the other engines'
  std::array<RowsAsAsked<perfdb::MoeTable, perfdb::MoeChoice>, 2> deepep_experts;  // by phase

  // Reads a table on first use.
  template <typename Table, typename Load>
  Result<const Table*> once(std::optional<Table>& table, const Load& load) {
    if (!table) {
      DSAPERF_TRY_ASSIGN(auto loaded, load());
      table = std::move(loaded);
    }
    return &*table;
  }

  Result<GemmSites> sites_of(const perfdb::GemmTable& table, std::string_view dtype,
                             GemmTimes times) const {
    DSAPERF_TRY_ASSIGN(const auto bound, GemmBound::make(system, dtype));
    if (times == GemmTimes::kAsMeasured) return GemmSites(table, dtype, bound);
    DSAPERF_TRY_ASSIGN(const auto shipped, modelled::OperatorCosts::shipped());
    return GemmSites::of_kernels(table, dtype, bound, shipped.of("gemm", dtype));
  }

  Result<GemmOperator> measured_gemm(std::string_view dtype, int n, int k, GemmTimes times) {
    const std::pair key(std::string(dtype), times);
    auto found = gemm_sites.find(key);
    if (found == gemm_sites.end()) {
      DSAPERF_TRY_ASSIGN(const auto* table, once(gemm, [&] {
                           return perfdb::load_gemm_table(*tree, system.name, backend, version);
                         }));
      DSAPERF_TRY_ASSIGN(auto sites, sites_of(*table, dtype, times));
      found = gemm_sites.emplace(key, std::make_shared<const GemmSites>(std::move(sites))).first;
    }
    return GemmOperator::make(found->second, n, k).map_error([&](Error error) {
      return std::move(error).with_context(dtype);
    });
  }

  Result<MoeOperator> experts(RowsAsAsked<perfdb::MoeTable, perfdb::MoeChoice>& rows,
                              std::string_view file, const MoeShape& shape) {
    const perfdb::MoeChoice choice{.dtype = shape.dtype,
                                   .hidden = shape.hidden,
                                   .inter = shape.inter,
                                   .topk = shape.topk,
                                   .experts = shape.experts};
    DSAPERF_TRY_ASSIGN(const auto* table, rows.of(choice, [&](const auto& only) {
      return perfdb::load_moe_rows(*tree, system.name, backend, version, file, only);
    }));
    return MoeOperator::make(*table, system, shape);
  }

  Result<const perfdb::MlaTable*> mla_table(std::string_view name) {
    auto found = mla.find(name);
    if (found == mla.end()) {
      DSAPERF_TRY_ASSIGN(auto loaded,
                         perfdb::load_mla_table(*tree, system.name, backend, version, name));
      found = mla.emplace(std::string(name), std::move(loaded)).first;
    }
    return &found->second;
  }
};

OperatorSet::OperatorSet(std::unique_ptr<State> state) : state_(std::move(state)) {
}
OperatorSet::OperatorSet(OperatorSet&&) noexcept = default;
OperatorSet& OperatorSet::operator=(OperatorSet&&) noexcept = default;
OperatorSet::~OperatorSet() = default;

Result<OperatorSet> OperatorSet::open(std::shared_ptr<const perfdb::SystemsTree> tree,
                                      std::string_view system, std::string_view backend,
                                      std::string_view version) {
  auto state = std::make_unique<State>();
  DSAPERF_TRY_ASSIGN(state->system, tree->system(system));
  DSAPERF_TRY_ASSIGN(state->version, tree->resolve_version(system, backend, version));
  state->backend = backend;
  state->tree = std::move(tree);
  OperatorSet set(std::move(state));
  auto& opened = *set.state_;
  if (!opened.tree->is_shipped()) return set;
  DSAPERF_TRY(set.model_rest());
  DSAPERF_TRY_ASSIGN(const auto gemms, opened.tree->sources(opened.system.name, opened.backend,
                                                            opened.version, perfdb::kGemmTable));
  opened.own_gemms = !gemms.empty();
  return set;
}

Result<void> OperatorSet::model_rest() {
  DSAPERF_TRY_ASSIGN(auto costs, modelled::OperatorCosts::shipped());
  state_->costs = std::move(costs);
  return {};
}

const perfdb::SystemFile& OperatorSet::system() const {
  return state_->system;
}
const std::string& OperatorSet::backend() const {
  return state_->backend;
}
const std::string& OperatorSet::version() const {
  return state_->version;
}

Result<DsaLayer> OperatorSet::dsa(const LayerKind& kind, perfdb::Phase phase) {
  auto& s = *state_;
  if (!s.dsa) {
    DSAPERF_TRY_ASSIGN(auto opened, DsaTables::open(s.tree, s.system.name, s.backend, s.version));
    s.dsa = std::move(opened);
  }
  return s.dsa->layer(kind, phase);
}

SharedLayer OperatorSet::dsa_by_stages(const LayerKind& kind) {
  auto& s = *state_;
  if (!s.by_stages)
    s.by_stages = std::make_shared<SharedLayer::Predictor>(LayerPredictor(s.tree, Method::kStages));
  return {s.by_stages, {.system = s.system.name, .backend = s.backend, .version = s.version}, kind};
}

Result<GemmOperator> OperatorSet::gemm(std::string_view dtype, int n, int k, GemmTimes times) {
  auto& s = *state_;
  if (!s.costs) return s.measured_gemm(dtype, n, k, times);
  if (s.own_gemms) {
    if (auto measured = s.measured_gemm(dtype, n, k, times)) return measured;
  }
  DSAPERF_TRY_ASSIGN(const auto bound, GemmBound::make(s.system, dtype));
  return GemmOperator::make(std::make_shared<const GemmSites>(
                                GemmSites::modelled(s.costs->of("gemm", dtype), bound, n, k)),
                            n, k);
}

Result<MoeOperator> OperatorSet::moe(const MoeShape& shape) {
  auto& s = *state_;
  if (s.costs) return MoeOperator::modelled(s.costs->of("moe", shape.dtype), s.system, shape);
  return s.experts(s.moe, "moe_perf.parquet", shape);
}

Result<CommOperator> OperatorSet::all_reduce(int gpus, NodeLinks links) {
  auto& s = *state_;
  if (s.costs)
    return CommOperator::modelled(s.costs->of("all_reduce"), s.system, "all_reduce", gpus);
  DSAPERF_TRY_ASSIGN(const auto* table, s.once(s.all_reduce, [&] {
    return perfdb::load_allreduce_table(*s.tree, s.system.name, s.backend, s.version);
  }));
  return CommOperator::all_reduce(*table, s.system, gpus, links);
}

Result<CommOperator> OperatorSet::collective(std::string_view operation, int gpus,
                                             NodeLinks links) {
  auto& s = *state_;
  if (s.costs) return CommOperator::modelled(s.costs->of("collective"), s.system, operation, gpus);
  DSAPERF_TRY_ASSIGN(const auto* table, s.once(s.collectives, [&] {
    return perfdb::load_collective_table(*s.tree, s.system.name, "nccl");
  }));
  return CommOperator::collective(*table, s.system, operation, gpus, links);
}

Result<MlaContextOperator> OperatorSet::mla_context(const MlaKey& key, int heads) {
  DSAPERF_TRY_ASSIGN(const auto* table,
                     state_->mla_table(mla_file(key.part, perfdb::Phase::kContext)));
  return MlaContextOperator::make(*table, state_->system, key, heads);
}

Result<MlaGenerationOperator> OperatorSet::mla_generation(const MlaKey& key, int heads) {
  DSAPERF_TRY_ASSIGN(const auto* table,
                     state_->mla_table(mla_file(key.part, perfdb::Phase::kGeneration)));
  return MlaGenerationOperator::make(*table, state_->system, key, heads);
}

Result<MlaBmmOperator> OperatorSet::mla_bmm(std::string_view dtype, MlaBmmOperator::Side side,
                                            int heads) {
  auto& s = *state_;
  DSAPERF_TRY_ASSIGN(const auto* table, s.once(s.bmm, [&] {
    return perfdb::load_mla_bmm_table(*s.tree, s.system.name, s.backend, s.version);
  }));
  return MlaBmmOperator::make(*table, s.system, dtype, side, heads);
}

Result<DeepEpOperator> OperatorSet::deepep(perfdb::Phase phase, const DeepEpOperator::Shape& shape,
                                           DeepEpSide side) {
  auto& s = *state_;
  const bool context = phase == perfdb::Phase::kContext;
  if (s.backend != "sglang") {
    DSAPERF_TRY_ASSIGN(const auto* table, s.once(s.exchanges, [&] {
      return perfdb::load_moe_a2a_table(*s.tree, s.system.name, s.backend, s.version);
    }));
    const std::string prefix = s.backend == "trtllm" ? "trtllm_" : "";
    return DeepEpOperator::make(*table, prefix + (context ? "deepep_ht" : "deepep_ll"), shape,
                                side);
  }
  DSAPERF_TRY_ASSIGN(const auto* table, s.once(s.deepep[context ? 0 : 1], [&] {
    return perfdb::load_deepep_table(
        *s.tree, s.system.name, s.backend, s.version,
        context ? perfdb::DeepEpMode::kNormal : perfdb::DeepEpMode::kLowLatency);
  }));
  return DeepEpOperator::make(*table, shape, side);
}

Result<MoeOperator> OperatorSet::deepep_experts(perfdb::Phase phase, const MoeShape& shape) {
  auto& s = *state_;
  const bool sglang = s.backend == "sglang";  // the one that measured each phase apart
  const bool context = !sglang || phase == perfdb::Phase::kContext;
  auto experts = s.experts(s.deepep_experts[context ? 0 : 1],
                           !sglang   ? "wideep_moe_perf.parquet"
                           : context ? "wideep_context_moe_perf.parquet"
                                     : "wideep_generation_moe_perf.parquet",
                           shape);
  if (experts || sglang || experts.error().code() != Errc::kNotFound) return experts;
  return moe(shape);
}

double OperatorSet::memory_ms(double bytes) const {
  if (state_->costs)
    return state_->costs->of("memory").ms(
        {.math_ms = 0, .memory_ms = bytes / state_->system.mem_bw * 1e3});
  return (bytes / (state_->system.mem_bw * state_->system.mem_bw_scaling) +
          state_->system.mem_latency_s) *
         1e3;
}

double OperatorSet::point_to_point_ms(double bytes) const {
  return (bytes / state_->system.inter_node_bw + state_->system.p2p_latency_s) * 1e3;
}

}  // namespace dsaperf::predict::compatible
