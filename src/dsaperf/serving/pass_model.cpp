#include "dsaperf/serving/pass_model.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

namespace compatible = predict::compatible;

constexpr double kHalf = 2;     // bytes of an activation
constexpr int kDeepEpSms = 20;  // that DeepEP's normal mode may use
constexpr int kDeepEpTopk = 8;  // experts of a token that its kernels know, at most
constexpr double kTrtllmDecodeDiscount = 0.9;

// Sizes of DeepSeek-V3's MLA that its operator list is written with.
constexpr int kMlaDown = 2112;  // q_lora + kv_lora + rope
constexpr int kMlaQLora = 1536;
constexpr int kMlaKvLora = 512;
constexpr int kMlaRope = 64;
constexpr int kMlaQueryDim = 192;
constexpr int kMlaKeyValueDim = 256;
constexpr int kMlaValueDim = 128;

double bytes_of(const std::string& dtype) {
  const auto traits = compatible::dtype_traits(dtype);
  return traits ? traits->bytes : 0.5;  // the formats that only MoE tables know are four bits wide
}

}  // namespace

// Writes down the operators of both passes, in aiconfigurator's order and by its names.
class PassModel::Builder {
 public:
  Builder(PassModel& model, compatible::OperatorSet& set)
      : model_(model), in_(model.inputs_), s_(in_.shape), l_(in_.layout), set_(set) {}

  Result<void> build() {
    // First, and in little time: a sweep asks for many layouts whose exchanges were not measured.
    if (in_.exchanges()) DSAPERF_TRY(find_exchanges());
    DSAPERF_TRY(phase("context", perfdb::Phase::kContext, 1));
    const double draft =
        in_.draft_tokens > 0 ? static_cast<double>(s_.layers + in_.draft_tokens) / s_.layers : 1;
    if (in_.deepep == DeepEp::kDecode) model_.context_.clear();
    if (in_.deepep != DeepEp::kPrefill)
      DSAPERF_TRY(phase("generation", perfdb::Phase::kGeneration, draft));
    weights_ /= l_.pp;
    model_.weight_bytes_ = weights_;
    return {};
  }

 private:
  using Operators = std::vector<PassOperator>;

  Result<void> find_exchanges() {
    for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
      const bool is_run =
          in_.deepep != (phase == perfdb::Phase::kContext ? DeepEp::kDecode : DeepEp::kPrefill);
      if (!is_run) continue;
      phase_ = phase;
      DSAPERF_TRY(set_.deepep(phase, exchange_shape(), compatible::DeepEpSide::kDispatch));
      DSAPERF_TRY(set_.deepep(phase, exchange_shape(), compatible::DeepEpSide::kCombine));
    }
    return {};
  }

  bool quirk(Quirk q) const { return in_.quirks.has(q); }
  bool exchanges() const { return in_.exchanges(); }
  bool is_context() const { return phase_ == perfdb::Phase::kContext; }
  bool is_mla() const { return s_.attention == ModelShape::Attention::kMla; }
  // That all of a prompt's tokens are split over; DSA layers have it in their own operators alone.
  int mla_prompt_ranks() const { return is_mla() && is_context() ? l_.cp : 1; }

  std::vector<PassItem>& list() {
    return phase_ == perfdb::Phase::kContext ? model_.context_ : model_.generation_;
  }
  void add_line(PassOperator op, bool is_attention = false) {
    PassItem item;
    item.name = op.name;
    item.is_attention = is_attention;
    item.operators.push_back(std::move(op));
    list().push_back(std::move(item));
  }
  // Weights live once, although both phases read them.
  void hold(double bytes) {
    if (phase_ == perfdb::Phase::kContext) weights_ += bytes;
  }

  PassOperator memory(std::string_view what, double count, double bytes_per_token) const {
    const double fixed = set_.memory_ms(0);
    return {
        .name = prefix_ + std::string(what),
        .count = count,
        .kind = MemoryOperator{.ms_per_token = set_.memory_ms(bytes_per_token) - fixed,
                               .ms_fixed = fixed,
                               .bound_ms_per_token = bytes_per_token / set_.system().mem_bw * 1e3,
                               .prompt_ranks = mla_prompt_ranks()}};
  }
  Result<PassOperator> gemm(std::string_view what, double count, const std::string& dtype, int n,
                            int k, bool logits = false) {
    PassOperator op{.name = prefix_ + std::string(what), .count = count, .kind = MemoryOperator{}};
    auto made = set_.gemm(dtype, n, k);
    if (!made) return tl::unexpected(std::move(made).error().with_context(op.name));
    op.kind =
        GemmUse{.gemm = *std::move(made), .logits = logits, .prompt_ranks = mla_prompt_ranks()};
    return op;
  }
  Result<PassOperator> held_gemm(std::string_view what, double count, const std::string& dtype,
                                 int n, int k, bool logits = false) {
    hold(count * n * k * bytes_of(dtype));
    return gemm(what, count, dtype, n, k, logits);
  }

  Result<void> phase(std::string_view name, perfdb::Phase phase, double draft) {
    prefix_ = std::string(name) + "_";
    phase_ = phase;
    layers_ = s_.layers * draft;
    if (exchanges() && in_.engine == Engine::kSglang) return deepep_phase();
    if (exchanges() && in_.engine == Engine::kTrtllm && !is_context() &&
        quirk(Quirk::kDecodeDiscount))
      layers_ *= kTrtllmDecodeDiscount;
    const double norm_bytes =
        2.0 * (2 * s_.hidden + 2 * s_.hidden) / (is_context() && !is_mla() ? l_.cp : 1);
    add_line(memory("embedding", draft, kHalf * s_.hidden));
    hold(static_cast<double>(s_.vocab) * s_.hidden * kHalf);
    add_line(memory("add_norm_1", layers_, norm_bytes));
    DSAPERF_TRY(attention());
    add_line(memory("add_norm_2", layers_, norm_bytes));
    DSAPERF_TRY(mlp());
    DSAPERF_TRY_ASSIGN(auto logits, held_gemm("logits_gemm", draft, "bfloat16", s_.vocab / l_.tp,
                                              s_.hidden, true));
    add_line(std::move(logits));
    if (s_.attention == ModelShape::Attention::kMla && in_.engine == Engine::kVllm &&
        quirk(Quirk::kAllReduceTwice)) {
      DSAPERF_TRY_ASSIGN(auto all_reduce, set_.all_reduce(l_.tp));
      CommUse use;
      use.steps.push_back(
          {.comm = std::move(all_reduce), .elements_per_token = static_cast<double>(s_.hidden)});
      add_line({.name = prefix_ + "tp_allreduce", .count = 2 * layers_, .kind = std::move(use)});
    }
    PassOperator transfer = memory("p2p", (l_.pp - 1) * draft, 0);
    const double fixed = set_.point_to_point_ms(0);
    const bool inside =
        !quirk(Quirk::kPointToPointAcrossNodes) && l_.gpus() <= set_.system().gpus_per_node;
    const double ratio = inside ? set_.system().inter_node_bw / set_.system().intra_node_bw : 1;
    const double sent = (set_.point_to_point_ms(kHalf * s_.hidden) - fixed) * ratio;
    transfer.kind = MemoryOperator{
        .ms_per_token = sent, .ms_fixed = fixed, .bound_ms_per_token = sent, .limit = Limit::kLink};
    add_line(std::move(transfer));
    return {};
  }

  Result<void> deepep_phase() {
    const bool split = is_context() && l_.tp > 1;
    const bool mla = is_mla();
    if (mla) DSAPERF_TRY(first_projection("qkv_a_proj_gemm", is_context() ? l_.tp : 1));
    if (split) DSAPERF_TRY(around_attention("tp_all_gather", "all_gather"));
    DSAPERF_TRY(mla ? mla_beside_deepep() : attention());
    if (split) DSAPERF_TRY(around_attention("tp_reduce_scatter", "reduce_scatter"));
    return exchanged_experts(layers_);
  }

  // The first projection of an MLA layer, with `ranks` that share the tokens.
  Result<void> first_projection(std::string_view what, int ranks) {
    DSAPERF_TRY_ASSIGN(auto down,
                       held_gemm(what, layers_, in_.formats.attention, kMlaDown, s_.hidden));
    std::get<GemmUse>(down.kind).ranks = ranks;
    add_line(std::move(down));
    return {};
  }

  // What the package has there of an MLA model: an embedding and a norm, the first projection once
  // more, and a table of the rest of attention, which was measured in one format.
  Result<void> mla_beside_deepep() {
    const double draft = layers_ / s_.layers;
    add_line(memory("embedding", is_context() ? 1 : draft, kHalf * s_.hidden));
    hold(static_cast<double>(s_.vocab) * s_.hidden * kHalf);
    add_line(memory("add_norm_1", layers_, 2.0 * (2 * s_.hidden + 2 * s_.hidden)));
    DSAPERF_TRY(first_projection("downscale_gemm", 1));
    const compatible::MlaKey key{.part = compatible::MlaPart::kBesideDeepEp,
                                 .fmha_dtype = std::string(in_.attention_rows()),
                                 .kv_dtype = in_.formats.kv,
                                 .gemm_dtype = in_.formats.attention};
    const int heads = s_.heads / l_.tp;
    PassOperator op{.name = prefix_ + "attention", .count = layers_, .kind = MemoryOperator{}};
    if (is_context()) {
      DSAPERF_TRY_ASSIGN(auto kernel, set_.mla_context(key, heads));
      op.kind = MlaContextUse{.mla = std::move(kernel), .prompt_ranks = l_.cp};
    } else {
      DSAPERF_TRY_ASSIGN(auto kernel, set_.mla_generation(key, heads));
      op.kind = MlaGenerationUse{.mla = std::move(kernel)};
    }
    add_line(std::move(op), true);
    return gather_prompts();
  }

  // Experts behind DeepEP's exchanges, and the shared expert whole on every rank.
  Result<void> exchanged_experts(double count) {
    const bool trtllm = in_.engine == Engine::kTrtllm;
    if (is_context() && in_.deepep == DeepEp::kDecode) {
      hold_experts_without_exchanges(count);
      return {};
    }
    Operators routed;
    if (in_.engine != Engine::kSglang) {
      DSAPERF_TRY_ASSIGN(auto router,
                         held_gemm("router_gemm", count, "bfloat16", s_.experts, s_.hidden));
      routed.push_back(std::move(router));
    }
    // Attention ranks that share a prompt's tokens.
    const int ranks = is_context() && !trtllm ? l_.tp : 1;
    const int prompt_ranks = is_context() ? l_.cp : 1;
    DSAPERF_TRY_ASSIGN(auto shared, whole_shared_expert(count, ranks));
    const auto shape = exchange_shape();
    const auto exchange = [&](std::string_view what, compatible::DeepEpSide side) -> Result<void> {
      DSAPERF_TRY_ASSIGN(auto op, set_.deepep(phase_, shape, side));
      routed.push_back(
          {.name = prefix_ + std::string(what),
           .count = count,
           .kind = DeepEpUse{.exchange = std::move(op), .ranks = ranks * prompt_ranks}});
      return {};
    };
    DSAPERF_TRY(exchange("moe_dispatch", compatible::DeepEpSide::kDispatch));
    DSAPERF_TRY_ASSIGN(auto experts, set_.deepep_experts(phase_, moe_shape()));
    routed.push_back(
        {.name = prefix_ + "moe",
         .count = count,
         .kind = MoeUse{.moe = std::move(experts), .ranks = static_cast<double>(l_.dp)}});
    hold_experts(count);
    DSAPERF_TRY(exchange("moe_combine", compatible::DeepEpSide::kCombine));
    if (trtllm && !is_context()) {
      add_overlap(std::move(routed), std::move(shared));
    } else {
      for (auto* group : {&shared, &routed})
        for (auto& op : *group) add_line(std::move(op));
    }
    if (trtllm) add_line(memory("moe_reduce_add", count, kHalf * 3 * s_.hidden));
    return {};
  }

  compatible::DeepEpOperator::Shape exchange_shape() const {
    return {.ranks = l_.moe_ep,
            .per_node = set_.system().gpus_per_node,
            .hidden = s_.hidden,
            .topk = s_.topk,
            .experts = s_.experts,
            .sms = is_context() && in_.engine != Engine::kTrtllm ? kDeepEpSms : 0,
            .dtype = in_.formats.moe,
            .one_node_for_all = quirk(Quirk::kExchangesOfOneNode)};
  }

  Result<Operators> whole_shared_expert(double count, int ranks) {
    // TensorRT-LLM's has a format and names of its own.
    const bool trtllm = in_.engine == Engine::kTrtllm;
    const auto& dtype = trtllm ? in_.formats.shared : in_.formats.gemm;
    DSAPERF_TRY_ASSIGN(auto up, held_gemm(trtllm ? "shared_gate_up_gemm" : "gate_ffn1_gemm", count,
                                          dtype, 2 * s_.moe_inter, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto down, held_gemm(trtllm ? "shared_ffn2_gemm" : "ffn2_gemm", count, dtype,
                                            s_.hidden, s_.moe_inter));
    std::get<GemmUse>(up.kind).ranks = ranks;
    std::get<GemmUse>(down.kind).ranks = ranks;
    Operators operators;
    operators.push_back(std::move(up));
    operators.push_back(
        memory(trtllm ? "shared_act_gate" : "act_gate", count, kHalf * 3 * s_.moe_inter / ranks));
    operators.push_back(std::move(down));
    return operators;
  }

  void hold_experts_without_exchanges(double count) {
    const int inter = s_.moe_inter / l_.tp;
    hold(count * s_.experts * s_.hidden * kHalf);
    hold(count * 3.0 * s_.hidden * inter * bytes_of(in_.formats.shared));
    hold_experts(count);
  }

  Result<void> around_attention(std::string_view what, std::string_view operation) {
    DSAPERF_TRY_ASSIGN(auto comm, set_.collective(operation, l_.tp));
    CommUse use;
    use.steps.push_back(
        {.comm = std::move(comm), .elements_per_token = static_cast<double>(s_.hidden)});
    add_line({.name = prefix_ + std::string(what), .count = layers_, .kind = std::move(use)});
    return {};
  }

  compatible::MoeShape moe_shape() const {
    return {.dtype = in_.formats.moe,
            .distribution = "power_law_1.01",
            .hidden = s_.hidden,
            .inter = s_.moe_inter,
            .topk = s_.topk,
            .experts = s_.experts,
            .moe_tp = l_.moe_tp,
            .moe_ep = l_.moe_ep};
  }
  void hold_experts(double count) {
    hold(count * s_.experts / l_.moe_ep * 3.0 * s_.hidden * s_.moe_inter / l_.moe_tp *
         bytes_of(in_.formats.moe));
  }

  Result<void> attention() { return s_.attention == ModelShape::Attention::kDsa ? dsa() : mla(); }

  Result<void> dsa() {
    PassOperator op{.name = prefix_ + "attention", .count = layers_, .kind = MemoryOperator{}};
    const predict::LayerKind kind{.architecture = s_.architecture,
                                  .kv_dtype = in_.formats.kv,
                                  .fmha_dtype = in_.formats.fmha,
                                  .gemm_dtype = in_.formats.attention};
    auto layer = set_.dsa(kind, phase_);
    if (!layer) return tl::unexpected(std::move(layer).error().with_context(op.name));
    std::shared_ptr<const predict::stages::UsualLayer> stages;
    if (auto usual = predict::stages::UsualLayer::make(set_.system(), kind, phase_))
      stages = std::make_shared<const predict::stages::UsualLayer>(*std::move(usual));
    // Rows of layers that reuse a selection exist for SGLang alone.
    const double share = in_.engine == Engine::kSglang ? s_.full_layer_share : 1;
    op.kind = DsaUse{.layer = *std::move(layer),
                     .phase = phase_,
                     .heads = s_.heads / l_.tp,
                     .full_layer_share = share,
                     .context_parallel = phase_ == perfdb::Phase::kContext ? l_.cp : 1,
                     .stages = std::move(stages)};
    add_line(std::move(op), true);
    const auto& d = compatible::dsa_dims(s_.architecture);
    const double heads = static_cast<double>(s_.heads) / l_.tp;
    const double values = d.hidden * d.q_lora + d.q_lora * heads * (d.nope + d.rope) +
                          d.hidden * (d.kv_lora + d.rope) + d.kv_lora * heads * (d.nope + d.v) +
                          heads * d.v * d.hidden + d.q_lora * d.index_heads * d.index_dim +
                          d.hidden * d.index_heads;
    hold(layers_ * values * bytes_of(in_.formats.attention));
    return {};
  }

  // The module's table where it has rows, else the kernels one by one.
  Result<void> mla() {
    const int heads = s_.heads / l_.tp;
    const compatible::MlaKey key{.part = compatible::MlaPart::kModule,
                                 .fmha_dtype = in_.formats.fmha,
                                 .kv_dtype = in_.formats.kv,
                                 .gemm_dtype = in_.formats.attention};
    PassItem item;
    item.name = prefix_ + "mla_block";
    item.is_attention = true;
    const double values = static_cast<double>(s_.hidden) * kMlaDown +
                          static_cast<double>(kMlaQLora) * kMlaQueryDim * heads +
                          static_cast<double>(kMlaKvLora) * kMlaKeyValueDim * heads +
                          static_cast<double>(s_.hidden) * kMlaValueDim * heads;
    hold(layers_ * values * bytes_of(in_.formats.attention));
    if (exchanges() && in_.engine == Engine::kTrtllm) return mla_one_by_one(key, heads);
    if (phase_ == perfdb::Phase::kContext) {
      if (auto module = set_.mla_context(key, heads)) {
        item.operators.push_back({.name = prefix_ + "mla_module",
                                  .count = layers_ / l_.cp,
                                  .kind = MlaContextUse{.mla = *std::move(module)}});
      } else {
        DSAPERF_TRY_ASSIGN(item.operators, mla_context_kernels(key, heads));
      }
    } else if (auto module = set_.mla_generation(key, heads)) {
      item.operators.push_back({.name = prefix_ + "mla_module",
                                .count = layers_,
                                .kind = MlaGenerationUse{.mla = *std::move(module)}});
    } else {
      DSAPERF_TRY_ASSIGN(item.operators, mla_generation_kernels(key, heads));
    }
    list().push_back(std::move(item));
    return gather_prompts();
  }

  // Ranks that a prompt is split over show each other what they cached.
  Result<void> gather_prompts() {
    if (mla_prompt_ranks() == 1) return {};
    constexpr double kCommBytes = 2;
    DSAPERF_TRY_ASSIGN(auto gather, set_.collective("all_gather", l_.cp));
    CommUse use;
    use.steps.push_back(
        {.comm = std::move(gather),
         .elements_per_token = (kMlaKvLora + kMlaRope) * bytes_of(in_.formats.kv) / kCommBytes});
    add_line({.name = prefix_ + "cp_all_gather", .count = layers_, .kind = std::move(use)});
    return {};
  }

  // A line each, and what TensorRT-LLM has between them: a norm of the compressed query, and rope
  // with the write of the cache beside the first absorbed product.
  Result<void> mla_one_by_one(const compatible::MlaKey& key, int heads) {
    DSAPERF_TRY_ASSIGN(auto kernels, is_context() ? mla_context_kernels(key, heads)
                                                  : mla_generation_kernels(key, heads));
    for (auto& op : kernels) {
      const bool is_first = op.name == kernels.front().name;
      const bool is_attention = op.name == prefix_ + "attention";
      if (op.name == prefix_ + "bmm_pre") {
        PassItem beside{.name = prefix_ + "bmm_rope_overlap", .operators = {}, .beside = {}};
        beside.operators.push_back(std::move(op));
        beside.beside.push_back(
            memory("rope_kvcache", layers_, kHalf * 2 * (kMlaKvLora + kMlaRope)));
        list().push_back(std::move(beside));
        continue;
      }
      add_line(std::move(op), is_attention);
      if (is_first) add_line(memory("q_a_layernorm", layers_, kHalf * 2 * kMlaQLora));
    }
    return {};
  }

  Result<Operators> mla_context_kernels(compatible::MlaKey key, int heads) {
    const auto& dtype = in_.formats.attention;
    key.part = compatible::MlaPart::kKernel;
    DSAPERF_TRY_ASSIGN(auto down, gemm("downscale_gemm", layers_, dtype, kMlaDown, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto q_b,
                       gemm("q_b_proj_gemm", layers_, dtype, heads * kMlaQueryDim, kMlaQLora));
    DSAPERF_TRY_ASSIGN(auto kv_b,
                       gemm("kv_b_proj_gemm", layers_, dtype, heads * kMlaKeyValueDim, kMlaKvLora));
    DSAPERF_TRY_ASSIGN(auto kernel, set_.mla_context(key, heads));
    DSAPERF_TRY_ASSIGN(auto out,
                       gemm("proj_gemm", layers_, dtype, s_.hidden, heads * kMlaValueDim));
    Operators operators;
    for (auto* op : {&down, &q_b, &kv_b}) operators.push_back(std::move(*op));
    operators.push_back(
        {.name = prefix_ + "attention",
         .count = layers_,
         .kind = MlaContextUse{.mla = std::move(kernel), .prompt_ranks = mla_prompt_ranks()}});
    operators.push_back(std::move(out));
    return operators;
  }

  Result<Operators> mla_generation_kernels(compatible::MlaKey key, int heads) {
    using Side = compatible::MlaBmmOperator::Side;
    const auto& dtype = in_.formats.attention;
    const std::string bmm_dtype = dtype == "bfloat16" ? "bfloat16" : "fp8";
    key.part = compatible::MlaPart::kKernel;
    DSAPERF_TRY_ASSIGN(auto down, gemm("downscale_gemm", layers_, dtype, kMlaDown, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto q_b,
                       gemm("q_b_proj_gemm", layers_, dtype, heads * kMlaQueryDim, kMlaQLora));
    DSAPERF_TRY_ASSIGN(auto before, set_.mla_bmm(bmm_dtype, Side::kBefore, heads));
    DSAPERF_TRY_ASSIGN(auto kernel, set_.mla_generation(key, heads));
    DSAPERF_TRY_ASSIGN(auto after, set_.mla_bmm(bmm_dtype, Side::kAfter, heads));
    DSAPERF_TRY_ASSIGN(auto out,
                       gemm("proj_gemm", layers_, dtype, s_.hidden, heads * kMlaValueDim));
    Operators operators;
    operators.push_back(std::move(down));
    operators.push_back(std::move(q_b));
    operators.push_back({.name = prefix_ + "bmm_pre",
                         .count = layers_,
                         .kind = MlaBmmUse{.bmm = std::move(before)}});
    operators.push_back({.name = prefix_ + "attention",
                         .count = layers_,
                         .kind = MlaGenerationUse{.mla = std::move(kernel)}});
    operators.push_back({.name = prefix_ + "bmm_post",
                         .count = layers_,
                         .kind = MlaBmmUse{.bmm = std::move(after)}});
    operators.push_back(std::move(out));
    return operators;
  }

  Result<void> mlp() {
    const double dense = quirk(Quirk::kDenseLayersAsMoe) ? 0 : s_.dense_layers;
    const double moe_layers = layers_ - dense;
    if (dense > 0) DSAPERF_TRY(dense_mlp(dense));
    if (exchanges()) return exchanged_experts(moe_layers);
    DSAPERF_TRY_ASSIGN(auto shared, shared_expert(moe_layers));
    DSAPERF_TRY_ASSIGN(auto routed, routed_experts(moe_layers));
    if (phase_ == perfdb::Phase::kContext) {
      for (auto* group : {&shared, &routed})
        for (auto& op : *group) add_line(std::move(op));
      return {};
    }
    add_overlap(std::move(routed), std::move(shared));
    return {};
  }

  // Decode runs them on two streams.
  void add_overlap(Operators routed, Operators shared) {
    PassItem overlap;
    overlap.name = prefix_ + "moe_overlap";
    overlap.operators = std::move(routed);
    overlap.beside = std::move(shared);
    list().push_back(std::move(overlap));
  }

  Result<void> dense_mlp(double count) {
    const int inter = s_.dense_inter / l_.tp;
    DSAPERF_TRY_ASSIGN(
        auto up, held_gemm("dense_gate_up_gemm", count, in_.formats.gemm, 2 * inter, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto down,
                       held_gemm("dense_ffn2_gemm", count, in_.formats.gemm, s_.hidden, inter));
    add_line(std::move(up));
    add_line(memory("dense_act_gate", count, kHalf * (3.0 * inter)));
    add_line(std::move(down));
    if (l_.tp > 1) {  // after attention and after the MLP
      DSAPERF_TRY_ASSIGN(auto all_reduce, set_.all_reduce(l_.tp));
      CommUse use;
      use.steps.push_back(
          {.comm = std::move(all_reduce), .elements_per_token = static_cast<double>(s_.hidden)});
      add_line({.name = prefix_ + "dense_allreduce", .count = 2 * count, .kind = std::move(use)});
    }
    return {};
  }

  Result<Operators> shared_expert(double count) {
    const bool by_moe_tp =
        s_.attention == ModelShape::Attention::kDsa && quirk(Quirk::kSharedExpertByMoeTp);
    const int inter = s_.moe_inter / (by_moe_tp ? l_.moe_tp : l_.tp);
    const auto& dtype = in_.formats.shared;
    DSAPERF_TRY_ASSIGN(auto up,
                       held_gemm("shared_gate_up_gemm", count, dtype, 2 * inter, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto down, held_gemm("shared_ffn2_gemm", count, dtype, s_.hidden, inter));
    Operators operators;
    operators.push_back(std::move(up));
    operators.push_back(memory("shared_act_gate", count, kHalf * (3.0 * inter)));
    operators.push_back(std::move(down));
    return operators;
  }

  Result<Operators> routed_experts(double count) {
    DSAPERF_TRY_ASSIGN(auto router,
                       held_gemm("router_gemm", count, "bfloat16", s_.experts, s_.hidden));
    DSAPERF_TRY_ASSIGN(auto before, exchange(count, true));
    DSAPERF_TRY_ASSIGN(auto after, exchange(count, false));
    auto moe = set_.moe(moe_shape());
    if (!moe) return tl::unexpected(std::move(moe).error().with_context(prefix_ + "moe"));
    hold_experts(count);
    Operators operators;
    operators.push_back(std::move(router));
    operators.push_back(std::move(before));
    operators.push_back(
        {.name = prefix_ + "moe",
         .count = count,
         .kind = MoeUse{.moe = *std::move(moe), .ranks = static_cast<double>(l_.dp)}});
    operators.push_back(std::move(after));
    return operators;
  }

  // What moves tokens between attention ranks and experts; the all-reduce before the experts stands
  // for the one after attention.
  Result<PassOperator> exchange(double count, bool before) {
    const int ranks = l_.moe_tp * l_.moe_ep;
    const int attention_ranks = ranks / l_.dp;
    const double hidden = s_.hidden;
    CommUse use;
    const auto all_reduce = [&]() -> Result<void> {
      DSAPERF_TRY_ASSIGN(auto comm, set_.all_reduce(ranks));
      use.steps.push_back({.comm = std::move(comm), .elements_per_token = hidden});
      return {};
    };
    const auto collective = [&](std::string_view operation, int gpus,
                                double elements) -> Result<void> {
      DSAPERF_TRY_ASSIGN(auto comm, set_.collective(operation, gpus));
      use.steps.push_back({.comm = std::move(comm), .elements_per_token = elements});
      return {};
    };
    const auto across = [&](double payload) {
      return before ? collective("all_gather", ranks, hidden * l_.dp * payload)
                    : collective("reduce_scatter", ranks, hidden * l_.dp);
    };
    const bool decode = phase_ == perfdb::Phase::kGeneration;
    if (in_.engine == Engine::kVllm) {
      if (attention_ranks > 1) DSAPERF_TRY(all_reduce());
      if (l_.dp > 1) DSAPERF_TRY(across(1));
    } else if (in_.engine == Engine::kSglang && attention_ranks > 1 && l_.dp > 1) {
      if (before) DSAPERF_TRY(collective("reduce_scatter", attention_ranks, hidden));
      DSAPERF_TRY(across(1));
      if (!before) DSAPERF_TRY(collective("all_gather", attention_ranks, hidden));
    } else if (in_.engine == Engine::kSglang && l_.cp > 1) {
      if (!decode)
        DSAPERF_TRY(collective(before ? "all_gather" : "reduce_scatter", ranks, hidden));
      else if (!before)
        DSAPERF_TRY(all_reduce());
    } else if (attention_ranks > 1 && (l_.dp == 1 || !is_trtllm_on_sm100())) {
      DSAPERF_TRY(all_reduce());
    } else if (l_.dp > 1) {
      DSAPERF_TRY(across(gathered_payload()));
    }
    return PassOperator{.name = prefix_ + (before ? "moe_pre_dispatch" : "moe_post_dispatch"),
                        .count = count,
                        .kind = std::move(use)};
  }

  bool is_trtllm_on_sm100() const {
    return in_.engine == Engine::kTrtllm && set_.system().sm_version == 100;
  }

  // TensorRT-LLM on SM100 gathers activations that are quantised already.
  double gathered_payload() const {
    if (!is_trtllm_on_sm100()) return 1;
    if (in_.formats.moe == "nvfp4") return 0.25 + 1.0 / 32;
    return in_.formats.moe.starts_with("fp8") ? 0.5 : 1;
  }

  PassModel& model_;
  const Inputs& in_;
  const ModelShape& s_;
  const Layout& l_;
  compatible::OperatorSet& set_;
  std::string prefix_;
  perfdb::Phase phase_ = perfdb::Phase::kContext;
  double layers_ = 0;
  double weights_ = 0;
};

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
  const int per_node = operators.system().gpus_per_node;
  const Layout& l = inputs.layout;
  if (inputs.shape.attention == ModelShape::Attention::kMla && l.cp > 1 &&
      (inputs.engine != Engine::kSglang || l.tp > 1 || l.dp > 1)) {
    return fail(Errc::kUnsupported,
                "layout {}: SGLang alone splits prompts over ranks (cp), and without tp and dp",
                l.text());
  }
  if (inputs.deepep == DeepEp::kNone && inputs.layout.moe_ep > per_node)
    return fail(Errc::kNotFound,
                "expert parallelism over {} GPUs with {} a node needs measured all-to-all "
                "exchanges, and the tables have none for this model",
                inputs.layout.moe_ep, per_node);
  PassModel model(inputs);
  Builder builder(model, operators);
  DSAPERF_TRY(builder.build());
  return model;
}

}  // namespace dsaperf::serving
