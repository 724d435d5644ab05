#include "dsaperf/serving/pass_model.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/pass_attention.hpp"
#include "dsaperf/serving/pass_experts.hpp"
#include "dsaperf/serving/pass_writer.hpp"

#include <utility>

namespace dsaperf::serving {
namespace {

namespace compatible = predict::compatible;

constexpr int kDeepEpTopk = 8;  // experts of a token that DeepEP's kernels know, at most

PassOperator stage_transfer(const PassWriter& pass) {
  const Layout& l = pass.layout;
  const auto& system = pass.set.system();
  const bool is_inside =
      !pass.quirk(Quirk::kPointToPointAcrossNodes) && l.gpus() <= system.gpus_per_node;
  const double ratio = is_inside ? system.inter_node_bw / system.intra_node_bw : 1;
  const double fixed = pass.set.point_to_point_ms(0);
  const double sent =
      (pass.set.point_to_point_ms(kActivationBytes * pass.shape.hidden) - fixed) * ratio;
  return {.name = pass.named("p2p"),
          .count = (l.pp - 1) * pass.steps,
          .kind = MemoryOperator{.ms_per_token = sent,
                                 .ms_fixed = fixed,
                                 .bound_ms_per_token = sent,
                                 .limit = Limit::kLink}};
}

Result<void> write_logits(PassWriter& pass) {
  DSAPERF_TRY_ASSIGN(auto logits,
                     pass.held_gemm("logits_gemm", pass.steps, "bfloat16",
                                    pass.shape.vocab / pass.layout.tp, pass.shape.hidden));
  std::get<GemmUse>(logits.kind).logits = true;
  pass.add_line(std::move(logits));
  return {};
}

Result<void> write_second_all_reduce(PassWriter& pass) {
  DSAPERF_TRY_ASSIGN(auto all_reduce, pass.all_reduce(pass.layout.tp));
  pass.add_line(
      pass.comm("tp_allreduce", 2 * pass.layers, std::move(all_reduce), pass.shape.hidden));
  return {};
}

Result<void> write_pass(PassWriter& pass) {
  if (pass.in.exchanges() && pass.in.engine == Engine::kSglang) {
    DSAPERF_TRY(write_attention_beside_deepep(pass));
    return write_exchanged_experts(pass, pass.layers);
  }
  const double hidden = pass.shape.hidden;
  const double norm_bytes =
      2.0 * (2 * hidden + 2 * hidden) / (pass.is_context() && !pass.is_mla() ? pass.layout.cp : 1);
  pass.add_line(pass.memory("embedding", pass.steps, kActivationBytes * hidden));
  pass.hold(static_cast<double>(pass.shape.vocab) * hidden * kActivationBytes);
  pass.add_line(pass.memory("add_norm_1", pass.layers, norm_bytes));
  DSAPERF_TRY(write_attention(pass));
  pass.add_line(pass.memory("add_norm_2", pass.layers, norm_bytes));
  DSAPERF_TRY(write_mlps(pass));
  DSAPERF_TRY(write_logits(pass));
  if (pass.is_mla() && pass.in.engine == Engine::kVllm && pass.quirk(Quirk::kAllReduceTwice))
    DSAPERF_TRY(write_second_all_reduce(pass));
  pass.add_line(stage_transfer(pass));
  return {};
}

// A step of decode that verifies draft tokens runs their layers too; one of prefill runs the draft
// layer once, which drafts from the caches of the whole prompt.
double steps_with_drafts(const PassModel::Inputs& in, perfdb::Phase phase) {
  if (in.draft_tokens <= 0) return 1;
  int drafts = in.draft_tokens;
  if (phase == perfdb::Phase::kContext) drafts = in.quirks.has(Quirk::kDraftLayerFree) ? 0 : 1;
  return static_cast<double>(in.shape.layers + drafts) / in.shape.layers;
}

Result<void> check_inputs(const PassModel::Inputs& in, int gpus_per_node) {
  const Layout& l = in.layout;
  if (in.shape.attention == ModelShape::Attention::kMla && l.cp > 1 &&
      (in.engine != Engine::kSglang || l.tp > 1 || l.dp > 1)) {
    return fail(Errc::kUnsupported,
                "layout {}: SGLang alone splits prompts over ranks (cp), and without tp and dp",
                l.text());
  }
  if (in.deepep == DeepEp::kNone && l.moe_ep > gpus_per_node)
    return fail(Errc::kNotFound,
                "expert parallelism over {} GPUs with {} a node needs measured all-to-all "
                "exchanges, and the tables have none for this model",
                l.moe_ep, gpus_per_node);
  return {};
}

}  // namespace

std::string_view PassModel::Inputs::attention_rows() const {
  const bool beside =
      exchanges() && engine == Engine::kSglang && shape.attention == ModelShape::Attention::kMla;
  return beside ? std::string_view("fp8_block") : std::string_view(formats.fmha);
}

bool PassModel::may_exchange(const Inputs& inputs) {
  const Layout& layout = inputs.layout;
  if (inputs.engine == Engine::kTrtllm && layout.dp == 1) return false;
  return layout.moe_tp == 1 && layout.moe_ep > 1 && inputs.shape.experts % layout.moe_ep == 0 &&
         inputs.shape.topk <= kDeepEpTopk;
}

Result<PassModel> PassModel::make(const Inputs& inputs, compatible::OperatorSet& operators) {
  auto made = of_rows(inputs, operators);
  const bool may_stand_in = inputs.formats.attention == "nvfp4" &&
                            inputs.shape.attention == ModelShape::Attention::kDsa &&
                            !inputs.quirks.has(Quirk::kInterpolatedAttention);
  if (made || made.error().code() != Errc::kNotFound || !may_stand_in) return made;
  Inputs nearest = inputs;
  nearest.nearest_attention = "fp8_block";
  if (auto answer = of_rows(nearest, operators)) return answer;
  return made;
}

Result<PassModel> PassModel::of_rows(const Inputs& inputs, compatible::OperatorSet& operators) {
  DSAPERF_TRY(check_inputs(inputs, operators.system().gpus_per_node));
  // First, and in little time: a sweep asks for many layouts whose exchanges were not measured.
  if (inputs.exchanges()) DSAPERF_TRY(find_exchanges(inputs, operators));
  PassModel model(inputs);
  // A worker of decode alone has the weights of this phase too.
  PassWriter context(inputs, operators, perfdb::Phase::kContext,
                     steps_with_drafts(inputs, perfdb::Phase::kContext));
  DSAPERF_TRY(write_pass(context));
  model.weight_bytes_ = context.weight_bytes() / inputs.layout.pp;
  if (inputs.deepep != DeepEp::kDecode) model.context_ = context.take_items();
  if (inputs.deepep != DeepEp::kPrefill) {
    PassWriter generation(inputs, operators, perfdb::Phase::kGeneration,
                          steps_with_drafts(inputs, perfdb::Phase::kGeneration));
    DSAPERF_TRY(write_pass(generation));
    model.generation_ = generation.take_items();
  }
  return model;
}

}  // namespace dsaperf::serving
