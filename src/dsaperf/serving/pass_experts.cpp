#include "dsaperf/serving/pass_experts.hpp"

#include "dsaperf/core/fail.hpp"

#include <utility>

namespace dsaperf::serving {
namespace {

namespace compatible = predict::compatible;

constexpr int kDeepEpSms = 20;  // that DeepEP's normal mode may use

compatible::DeepEpOperator::Shape exchange_shape(const PassModel::Inputs& in,
                                                 const perfdb::SystemFile& system,
                                                 perfdb::Phase phase) {
  const bool is_normal_mode = phase == perfdb::Phase::kContext && in.engine != Engine::kTrtllm;
  return {.ranks = in.layout.moe_ep,
          .per_node = system.gpus_per_node,
          .hidden = in.shape.hidden,
          .topk = in.shape.topk,
          .experts = in.shape.experts,
          .sms = is_normal_mode ? kDeepEpSms : 0,
          .dtype = in.formats.moe,
          .one_node_for_all = in.quirks.has(Quirk::kExchangesOfOneNode)};
}

compatible::MoeShape moe_shape(const PassWriter& pass) {
  return {.dtype = pass.in.formats.moe,
          .distribution = "power_law_1.01",
          .hidden = pass.shape.hidden,
          .inter = pass.shape.moe_inter,
          .topk = pass.shape.topk,
          .experts = pass.shape.experts,
          .moe_tp = pass.layout.moe_tp,
          .moe_ep = pass.layout.moe_ep};
}

PassOperator moe_operator(const PassWriter& pass, double count, compatible::MoeOperator moe) {
  return {.name = pass.named("moe"),
          .count = count,
          .kind = MoeUse{.moe = std::move(moe), .ranks = static_cast<double>(pass.layout.dp)}};
}

void hold_experts(PassWriter& pass, double count) {
  const auto& shape = pass.shape;
  pass.hold(count * shape.experts / pass.layout.moe_ep * 3.0 * shape.hidden * shape.moe_inter /
            pass.layout.moe_tp * bytes_of(pass.in.formats.moe));
}

// A worker of decode behind exchanges: its weights are those without.
void hold_experts_without_exchanges(PassWriter& pass, double count) {
  const auto& shape = pass.shape;
  const int inter = shape.moe_inter / pass.layout.tp;
  pass.hold(count * shape.experts * shape.hidden * kActivationBytes);
  pass.hold(count * 3.0 * shape.hidden * inter * bytes_of(pass.in.formats.shared));
  hold_experts(pass, count);
}

Result<PassOperator> router(PassWriter& pass, double count) {
  return pass.held_gemm("router_gemm", count, "bfloat16", pass.shape.experts, pass.shape.hidden);
}

// An MLP with gates: up, activation, down. `ranks` share the tokens.
struct MlpNames {
  const char* up;
  const char* activation;
  const char* down;
};
Result<Operators> gated_mlp(PassWriter& pass, const MlpNames& names, double count,
                            const std::string& dtype, int inter, int ranks = 1) {
  const int hidden = pass.shape.hidden;
  DSAPERF_TRY_ASSIGN(auto up, pass.held_gemm(names.up, count, dtype, 2 * inter, hidden));
  DSAPERF_TRY_ASSIGN(auto down, pass.held_gemm(names.down, count, dtype, hidden, inter));
  std::get<GemmUse>(up.kind).ranks = ranks;
  std::get<GemmUse>(down.kind).ranks = ranks;
  Operators operators;
  operators.push_back(std::move(up));
  operators.push_back(pass.memory(names.activation, count, kActivationBytes * 3 * inter / ranks));
  operators.push_back(std::move(down));
  return operators;
}

constexpr MlpNames kSharedExpert = {"shared_gate_up_gemm", "shared_act_gate", "shared_ffn2_gemm"};

Result<void> write_dense_mlps(PassWriter& pass, double count) {
  DSAPERF_TRY_ASSIGN(
      auto mlp, gated_mlp(pass, {"dense_gate_up_gemm", "dense_act_gate", "dense_ffn2_gemm"}, count,
                          pass.in.formats.gemm, pass.shape.dense_inter / pass.layout.tp));
  pass.add_lines(std::move(mlp));
  if (pass.layout.tp == 1) return {};
  DSAPERF_TRY_ASSIGN(auto all_reduce, pass.all_reduce(pass.layout.tp));
  // After attention and after the MLP.
  pass.add_line(pass.comm("dense_allreduce", 2 * count, std::move(all_reduce), pass.shape.hidden));
  return {};
}

Result<Operators> shared_expert(PassWriter& pass, double count) {
  const bool by_moe_tp = !pass.is_mla() && pass.quirk(Quirk::kSharedExpertByMoeTp);
  const int ranks = by_moe_tp ? pass.layout.moe_tp : pass.layout.tp;
  return gated_mlp(pass, kSharedExpert, count, pass.in.formats.shared,
                   pass.shape.moe_inter / ranks);
}

// Beside DeepEP's exchanges. TensorRT-LLM's has a format and names of its own.
Result<Operators> whole_shared_expert(PassWriter& pass, double count, int ranks) {
  if (pass.in.engine == Engine::kTrtllm)
    return gated_mlp(pass, kSharedExpert, count, pass.in.formats.shared, pass.shape.moe_inter,
                     ranks);
  return gated_mlp(pass, {"gate_ffn1_gemm", "act_gate", "ffn2_gemm"}, count, pass.in.formats.gemm,
                   pass.shape.moe_inter, ranks);
}

bool is_trtllm_on_sm100(const PassWriter& pass) {
  return pass.in.engine == Engine::kTrtllm && pass.set.system().sm_version == 100;
}

// TensorRT-LLM on SM100 gathers activations that are quantised already.
double gathered_payload(const PassWriter& pass) {
  if (!is_trtllm_on_sm100(pass)) return 1;
  const auto& dtype = pass.in.formats.moe;
  if (dtype == "nvfp4") return 0.25 + 1.0 / 32;
  return dtype.starts_with("fp8") ? 0.5 : 1;
}

enum class Side { kBeforeExperts, kAfterExperts };

// What moves tokens between attention ranks and experts; the all-reduce before the experts stands
// for the one after attention.
class Dispatch {
 public:
  Dispatch(PassWriter& pass, Side side)
      : pass_(pass),
        is_before_(side == Side::kBeforeExperts),
        ranks_(pass.layout.moe_tp * pass.layout.moe_ep) {}

  Result<PassOperator> make(double count) {
    const Layout& l = pass_.layout;
    const int attention_ranks = ranks_ / l.dp;
    if (pass_.in.engine == Engine::kVllm) {
      if (attention_ranks > 1) DSAPERF_TRY(all_reduce());
      if (l.dp > 1) DSAPERF_TRY(across(1));
    } else if (pass_.in.engine == Engine::kSglang && attention_ranks > 1 && l.dp > 1) {
      if (is_before_) DSAPERF_TRY(collective("reduce_scatter", attention_ranks, 1));
      DSAPERF_TRY(across(1));
      if (!is_before_) DSAPERF_TRY(collective("all_gather", attention_ranks, 1));
    } else if (pass_.in.engine == Engine::kSglang && l.cp > 1) {
      if (pass_.is_context())
        DSAPERF_TRY(collective(is_before_ ? "all_gather" : "reduce_scatter", ranks_, 1));
      else if (!is_before_)
        DSAPERF_TRY(all_reduce());
    } else if (attention_ranks > 1 && (l.dp == 1 || !is_trtllm_on_sm100(pass_))) {
      DSAPERF_TRY(all_reduce());
    } else if (l.dp > 1) {
      DSAPERF_TRY(across(gathered_payload(pass_)));
    }
    return PassOperator{.name = pass_.named(is_before_ ? "moe_pre_dispatch" : "moe_post_dispatch"),
                        .count = count,
                        .kind = std::move(use_)};
  }

 private:
  Result<void> all_reduce() {
    DSAPERF_TRY_ASSIGN(auto comm, pass_.all_reduce(ranks_));
    use_.steps.push_back(
        {.comm = std::move(comm), .elements_per_token = static_cast<double>(pass_.shape.hidden)});
    return {};
  }
  // `share`: elements a token, of hidden.
  Result<void> collective(std::string_view operation, int gpus, double share) {
    DSAPERF_TRY_ASSIGN(auto comm, pass_.collective(operation, gpus));
    use_.steps.push_back(
        {.comm = std::move(comm), .elements_per_token = pass_.shape.hidden * share});
    return {};
  }
  // Between the copies of the attention; only what is gathered may be smaller than activations.
  Result<void> across(double payload) {
    return is_before_ ? collective("all_gather", ranks_, pass_.layout.dp * payload)
                      : collective("reduce_scatter", ranks_, pass_.layout.dp);
  }

  PassWriter& pass_;
  bool is_before_;
  int ranks_;
  CommUse use_;
};

Result<Operators> routed_experts(PassWriter& pass, double count) {
  DSAPERF_TRY_ASSIGN(auto route, router(pass, count));
  DSAPERF_TRY_ASSIGN(auto before, Dispatch(pass, Side::kBeforeExperts).make(count));
  DSAPERF_TRY_ASSIGN(auto after, Dispatch(pass, Side::kAfterExperts).make(count));
  auto moe = pass.set.moe(moe_shape(pass));
  if (!moe) return tl::unexpected(std::move(moe).error().with_context(pass.named("moe")));
  hold_experts(pass, count);
  Operators operators;
  operators.push_back(std::move(route));
  operators.push_back(std::move(before));
  operators.push_back(moe_operator(pass, count, *std::move(moe)));
  operators.push_back(std::move(after));
  return operators;
}

Result<Operators> exchanged_experts(PassWriter& pass, double count, int ranks) {
  const auto shape = exchange_shape(pass.in, pass.set.system(), pass.phase);
  const auto exchange = [&](std::string_view what,
                            compatible::DeepEpSide side) -> Result<PassOperator> {
    DSAPERF_TRY_ASSIGN(auto op, pass.set.deepep(pass.phase, shape, side));
    return PassOperator{.name = pass.named(what),
                        .count = count,
                        .kind = DeepEpUse{.exchange = std::move(op), .ranks = ranks}};
  };
  DSAPERF_TRY_ASSIGN(auto dispatch, exchange("moe_dispatch", compatible::DeepEpSide::kDispatch));
  DSAPERF_TRY_ASSIGN(auto experts, pass.set.deepep_experts(pass.phase, moe_shape(pass)));
  hold_experts(pass, count);
  DSAPERF_TRY_ASSIGN(auto combine, exchange("moe_combine", compatible::DeepEpSide::kCombine));
  Operators operators;
  operators.push_back(std::move(dispatch));
  operators.push_back(moe_operator(pass, count, std::move(experts)));
  operators.push_back(std::move(combine));
  return operators;
}

}  // namespace

Result<void> write_mlps(PassWriter& pass) {
  const double dense = pass.quirk(Quirk::kDenseLayersAsMoe) ? 0 : pass.shape.dense_layers;
  const double moe_layers = pass.layers - dense;
  if (dense > 0) DSAPERF_TRY(write_dense_mlps(pass, dense));
  if (pass.in.exchanges()) return write_exchanged_experts(pass, moe_layers);
  DSAPERF_TRY_ASSIGN(auto shared, shared_expert(pass, moe_layers));
  DSAPERF_TRY_ASSIGN(auto routed, routed_experts(pass, moe_layers));
  if (pass.is_context()) {
    pass.add_lines(std::move(shared));
    pass.add_lines(std::move(routed));
  } else {
    pass.add_overlap("moe_overlap", std::move(routed), std::move(shared));
  }
  return {};
}

Result<void> write_exchanged_experts(PassWriter& pass, double layers) {
  const bool is_trtllm = pass.in.engine == Engine::kTrtllm;
  if (pass.is_context() && pass.in.deepep == DeepEp::kDecode) {
    hold_experts_without_exchanges(pass, layers);
    return {};
  }
  Operators routed;
  if (pass.in.engine != Engine::kSglang) {
    DSAPERF_TRY_ASSIGN(auto route, router(pass, layers));
    routed.push_back(std::move(route));
  }
  // Attention ranks that share a prompt's tokens.
  const int ranks = pass.is_context() && !is_trtllm ? pass.layout.tp : 1;
  const int prompt_ranks = pass.is_context() ? pass.layout.cp : 1;
  DSAPERF_TRY_ASSIGN(auto shared, whole_shared_expert(pass, layers, ranks));
  DSAPERF_TRY_ASSIGN(auto experts, exchanged_experts(pass, layers, ranks * prompt_ranks));
  for (auto& op : experts) routed.push_back(std::move(op));
  if (is_trtllm && !pass.is_context()) {
    pass.add_overlap("moe_overlap", std::move(routed), std::move(shared));
  } else {
    pass.add_lines(std::move(shared));
    pass.add_lines(std::move(routed));
  }
  if (is_trtllm)
    pass.add_line(pass.memory("moe_reduce_add", layers, kActivationBytes * 3 * pass.shape.hidden));
  return {};
}

Result<void> find_exchanges(const PassModel::Inputs& inputs, compatible::OperatorSet& operators) {
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    const auto other_phase_alone =
        phase == perfdb::Phase::kContext ? DeepEp::kDecode : DeepEp::kPrefill;
    if (inputs.deepep == other_phase_alone) continue;
    const auto shape = exchange_shape(inputs, operators.system(), phase);
    DSAPERF_TRY(operators.deepep(phase, shape, compatible::DeepEpSide::kDispatch));
    DSAPERF_TRY(operators.deepep(phase, shape, compatible::DeepEpSide::kCombine));
  }
  return {};
}

}  // namespace dsaperf::serving
