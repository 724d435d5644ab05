#include "dsaperf/serving/pass_attention.hpp"

#include "dsaperf/core/fail.hpp"

#include <memory>
#include <utility>

namespace dsaperf::serving {
namespace {

namespace compatible = predict::compatible;

using compatible::mla_sizes::kKvLora;
using compatible::mla_sizes::kLatent;
using compatible::mla_sizes::kNope;
using compatible::mla_sizes::kQLora;
using compatible::mla_sizes::kQuery;
using compatible::mla_sizes::kValue;

constexpr int kDown = kQLora + kLatent;  // columns of the first projection

// What the stage model would carry over from rows of another kind is an error here, as without it.
bool has_rows(const predict::SharedLayer& layer, perfdb::Phase phase, int heads) {
  const auto answer = layer.at({.phase = phase, .heads = heads, .past_tokens = 1});
  return answer && answer->source != predict::Source::kModelled;
}

using DsaAnswers = decltype(DsaUse::layer);

Result<DsaAnswers> dsa_layer(PassWriter& pass, const predict::LayerKind& kind, int heads) {
  if (!pass.quirk(Quirk::kInterpolatedAttention)) {
    auto layer = pass.set.dsa_by_stages(kind);
    if (has_rows(layer, pass.phase, heads)) return layer;
  }
  DSAPERF_TRY_ASSIGN(auto layer, pass.set.dsa(kind, pass.phase));
  return layer;
}

Result<void> write_dsa(PassWriter& pass) {
  const auto& formats = pass.in.formats;
  const int heads = pass.shape.heads / pass.layout.tp;
  PassOperator op{.name = pass.named("attention"), .count = pass.layers, .kind = MemoryOperator{}};
  const predict::LayerKind kind{.architecture = pass.shape.architecture,
                                .kv_dtype = formats.kv,
                                .fmha_dtype = formats.fmha,
                                .gemm_dtype = pass.in.nearest_attention.empty()
                                                  ? formats.attention
                                                  : pass.in.nearest_attention};
  auto layer = dsa_layer(pass, kind, heads);
  if (!layer) return tl::unexpected(std::move(layer).error().with_context(op.name));
  std::shared_ptr<const predict::stages::UsualLayer> stages;
  if (auto usual = predict::stages::UsualLayer::make(pass.set.system(), kind, pass.phase))
    stages = std::make_shared<const predict::stages::UsualLayer>(*std::move(usual));
  // Rows of layers that reuse a selection exist for SGLang alone.
  const double share = pass.in.engine == Engine::kSglang ? pass.shape.full_layer_share : 1;
  op.kind = DsaUse{.layer = *std::move(layer),
                   .phase = pass.phase,
                   .heads = heads,
                   .full_layer_share = share,
                   .context_parallel = pass.is_context() ? pass.layout.cp : 1,
                   .stands_in = !pass.in.nearest_attention.empty(),
                   .stages = std::move(stages)};
  pass.add_attention(std::move(op));
  return {};
}

void hold_dsa(PassWriter& pass) {
  const auto& d = compatible::dsa_dims(pass.shape.architecture);
  const double heads = static_cast<double>(pass.shape.heads) / pass.layout.tp;
  const double values = d.hidden * d.q_lora + d.q_lora * heads * (d.nope + d.rope) +
                        d.hidden * (d.kv_lora + d.rope) + d.kv_lora * heads * (d.nope + d.v) +
                        heads * d.v * d.hidden + d.q_lora * d.index_heads * d.index_dim +
                        d.hidden * d.index_heads;
  pass.hold(pass.layers * values * bytes_of(pass.in.formats.attention));
}

// MLA of one rank's heads.
class MlaWriter {
 public:
  explicit MlaWriter(PassWriter& pass)
      : pass_(pass), dtype_(pass.in.formats.attention), heads_(pass.shape.heads / pass.layout.tp) {}

  // The module's table where it has rows, else the kernels one by one.
  Result<void> write() {
    hold_weights();
    if (pass_.in.exchanges() && pass_.in.engine == Engine::kTrtllm) return write_one_by_one();
    PassItem item;
    item.name = pass_.named("mla_block");
    item.is_attention = true;
    if (auto whole = module()) {
      item.operators.push_back(*std::move(whole));
    } else {
      DSAPERF_TRY_ASSIGN(item.operators, kernels());
    }
    pass_.add_item(std::move(item));
    return gather_prompts();
  }

  // What the package has there: an embedding and a norm, the first projection once more, and a
  // table of the rest of attention, which was measured in one format.
  Result<void> write_beside_deepep() {
    const double hidden = pass_.shape.hidden;
    pass_.add_line(pass_.memory("embedding", pass_.steps, kActivationBytes * hidden));
    pass_.hold(static_cast<double>(pass_.shape.vocab) * hidden * kActivationBytes);
    pass_.add_line(pass_.memory("add_norm_1", pass_.layers, 2.0 * (2 * hidden + 2 * hidden)));
    DSAPERF_TRY(write_first_projection("downscale_gemm", 1));
    DSAPERF_TRY_ASSIGN(auto op, attention(key(compatible::MlaPart::kBesideDeepEp,
                                              std::string(pass_.in.attention_rows()))));
    pass_.add_attention(std::move(op));
    return gather_prompts();
  }

  // With `ranks` that share the tokens.
  Result<void> write_first_projection(std::string_view what, int ranks) {
    DSAPERF_TRY_ASSIGN(auto down,
                       pass_.held_gemm(what, pass_.layers, dtype_, kDown, pass_.shape.hidden));
    std::get<GemmUse>(down.kind).ranks = ranks;
    pass_.add_line(std::move(down));
    return {};
  }

 private:
  compatible::MlaKey key(compatible::MlaPart part, std::string fmha_dtype) const {
    return {.part = part,
            .fmha_dtype = std::move(fmha_dtype),
            .kv_dtype = pass_.in.formats.kv,
            .gemm_dtype = dtype_};
  }

  void hold_weights() {
    const double values = static_cast<double>(pass_.shape.hidden) * kDown +
                          static_cast<double>(kQLora) * kQuery * heads_ +
                          static_cast<double>(kKvLora) * (kNope + kValue) * heads_ +
                          static_cast<double>(pass_.shape.hidden) * kValue * heads_;
    pass_.hold(pass_.layers * values * bytes_of(dtype_));
  }

  Result<PassOperator> module() {
    const auto rows = key(compatible::MlaPart::kModule, pass_.in.formats.fmha);
    PassOperator op{
        .name = pass_.named("mla_module"), .count = pass_.layers, .kind = MemoryOperator{}};
    if (pass_.is_context()) {
      DSAPERF_TRY_ASSIGN(auto module, pass_.set.mla_context(rows, heads_));
      op.count = pass_.layers / pass_.layout.cp;
      op.kind = MlaContextUse{.mla = std::move(module)};
    } else {
      DSAPERF_TRY_ASSIGN(auto module, pass_.set.mla_generation(rows, heads_));
      op.kind = MlaGenerationUse{.mla = std::move(module)};
    }
    return op;
  }

  Result<Operators> kernels() {
    using Side = compatible::MlaBmmOperator::Side;
    const int hidden = pass_.shape.hidden;
    const auto attends = [&] {
      return attention(key(compatible::MlaPart::kKernel, pass_.in.formats.fmha));
    };
    Operators operators;
    const auto add = [&](Result<PassOperator> made) -> Result<void> {
      DSAPERF_TRY_ASSIGN(auto op, std::move(made));
      operators.push_back(std::move(op));
      return {};
    };
    DSAPERF_TRY(add(projection("downscale_gemm", kDown, hidden)));
    DSAPERF_TRY(add(projection("q_b_proj_gemm", heads_ * kQuery, kQLora)));
    if (pass_.is_context()) {
      DSAPERF_TRY(add(projection("kv_b_proj_gemm", heads_ * (kNope + kValue), kKvLora)));
      DSAPERF_TRY(add(attends()));
    } else {
      DSAPERF_TRY(add(absorbed("bmm_pre", Side::kBefore)));
      DSAPERF_TRY(add(attends()));
      DSAPERF_TRY(add(absorbed("bmm_post", Side::kAfter)));
    }
    DSAPERF_TRY(add(projection("proj_gemm", hidden, heads_ * kValue)));
    return operators;
  }

  Result<PassOperator> projection(std::string_view what, int n, int k) {
    return pass_.gemm(what, pass_.layers, dtype_, n, k);
  }

  Result<PassOperator> absorbed(std::string_view what, compatible::MlaBmmOperator::Side side) {
    DSAPERF_TRY_ASSIGN(auto bmm,
                       pass_.set.mla_bmm(dtype_ == "bfloat16" ? "bfloat16" : "fp8", side, heads_));
    return PassOperator{
        .name = pass_.named(what), .count = pass_.layers, .kind = MlaBmmUse{.bmm = std::move(bmm)}};
  }

  Result<PassOperator> attention(const compatible::MlaKey& rows) {
    PassOperator op{
        .name = pass_.named("attention"), .count = pass_.layers, .kind = MemoryOperator{}};
    if (pass_.is_context()) {
      DSAPERF_TRY_ASSIGN(auto kernel, pass_.set.mla_context(rows, heads_));
      op.kind = MlaContextUse{.mla = std::move(kernel), .prompt_ranks = pass_.layout.cp};
    } else {
      DSAPERF_TRY_ASSIGN(auto kernel, pass_.set.mla_generation(rows, heads_));
      op.kind = MlaGenerationUse{.mla = std::move(kernel)};
    }
    return op;
  }

  // A line each, and what TensorRT-LLM has between them: a norm of the compressed query, and rope
  // with the write of the cache beside the first absorbed product.
  Result<void> write_one_by_one() {
    DSAPERF_TRY_ASSIGN(auto operators, kernels());
    bool is_first = true;
    for (auto& op : operators) {
      if (op.name == pass_.named("attention")) {
        pass_.add_attention(std::move(op));
      } else if (op.name == pass_.named("bmm_pre")) {
        pass_.add_overlap(
            "bmm_rope_overlap", {std::move(op)},
            {pass_.memory("rope_kvcache", pass_.layers, kActivationBytes * 2 * kLatent)});
      } else {
        pass_.add_line(std::move(op));
      }
      if (std::exchange(is_first, false))
        pass_.add_line(pass_.memory("q_a_layernorm", pass_.layers, kActivationBytes * 2 * kQLora));
    }
    return {};
  }

  // Ranks that a prompt is split over show each other what they cached.
  Result<void> gather_prompts() {
    if (pass_.mla_prompt_ranks() == 1) return {};
    constexpr double kCommBytes = 2;
    DSAPERF_TRY_ASSIGN(auto gather, pass_.collective("all_gather", pass_.layout.cp));
    pass_.add_line(pass_.comm("cp_all_gather", pass_.layers, std::move(gather),
                              kLatent * bytes_of(pass_.in.formats.kv) / kCommBytes));
    return {};
  }

  PassWriter& pass_;
  const std::string& dtype_;
  int heads_;
};

Result<void> write_around_attention(PassWriter& pass, std::string_view what,
                                    std::string_view operation) {
  DSAPERF_TRY_ASSIGN(auto comm, pass.collective(operation, pass.layout.tp));
  pass.add_line(pass.comm(what, pass.layers, std::move(comm), pass.shape.hidden));
  return {};
}

}  // namespace

Result<void> write_attention(PassWriter& pass) {
  if (pass.is_mla()) return MlaWriter(pass).write();
  DSAPERF_TRY(write_dsa(pass));
  hold_dsa(pass);
  return {};
}

Result<void> write_attention_beside_deepep(PassWriter& pass) {
  const bool is_split = pass.is_context() && pass.layout.tp > 1;
  if (pass.is_mla()) {
    const int ranks = pass.is_context() ? pass.layout.tp : 1;
    DSAPERF_TRY(MlaWriter(pass).write_first_projection("qkv_a_proj_gemm", ranks));
  }
  if (is_split) DSAPERF_TRY(write_around_attention(pass, "tp_all_gather", "all_gather"));
  DSAPERF_TRY(pass.is_mla() ? MlaWriter(pass).write_beside_deepep() : write_attention(pass));
  if (is_split) DSAPERF_TRY(write_around_attention(pass, "tp_reduce_scatter", "reduce_scatter"));
  return {};
}

}  // namespace dsaperf::serving
