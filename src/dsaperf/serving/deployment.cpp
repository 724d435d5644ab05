#include "dsaperf/serving/deployment.hpp"

#include "dsaperf/core/fail.hpp"

#include <array>

namespace dsaperf::serving {
namespace {

constexpr std::array<std::string_view, 3> kEngines = {"sglang", "vllm", "trtllm"};

}  // namespace

std::string Layout::text() const {
  std::string text = fmt::format("tp{}pp{}dp{}etp{}ep{}", tp, pp, dp, moe_tp, moe_ep);
  if (cp > 1) text += fmt::format("cp{}", cp);
  return text;
}

Result<void> check_layout(const model::ModelSpec& spec, const Layout& layout) {
  for (const int size : {layout.tp, layout.pp, layout.dp, layout.moe_tp, layout.moe_ep, layout.cp})
    if (size < 1) return fail(Errc::kInvalidArgument, "layout {}: sizes start at 1", layout.text());
  if (layout.tp * layout.dp * layout.cp != layout.moe_tp * layout.moe_ep)
    return fail(Errc::kInvalidArgument,
                "layout {}: tp * dp * cp = {} and moe-tp * ep = {} must be equal", layout.text(),
                layout.tp * layout.dp * layout.cp, layout.moe_tp * layout.moe_ep);
  if (layout.pp > spec.main_layers)
    return fail(Errc::kInvalidArgument, "layout {}: pp {} is more than the model's {} layers",
                layout.text(), layout.pp, spec.main_layers);
  if (spec.heads % layout.tp != 0)
    return fail(Errc::kInvalidArgument, "layout {}: {} attention heads do not divide by tp {}",
                layout.text(), spec.heads, layout.tp);
  if (spec.moe.routed_experts > 0 && spec.moe.routed_experts % layout.moe_ep != 0)
    return fail(Errc::kInvalidArgument, "layout {}: {} experts do not divide by ep {}",
                layout.text(), spec.moe.routed_experts, layout.moe_ep);
  if (spec.moe.intermediate % layout.moe_tp != 0)
    return fail(Errc::kInvalidArgument, "layout {}: expert width {} does not divide by moe-tp {}",
                layout.text(), spec.moe.intermediate, layout.moe_tp);
  return {};
}

std::string_view name(Engine engine) {
  return kEngines[static_cast<std::size_t>(engine)];
}

Result<Engine> engine_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kEngines.size(); ++i)
    if (kEngines[i] == name) return static_cast<Engine>(i);
  return fail(Errc::kInvalidArgument, "backend '{}' is not one of sglang, vllm, trtllm", name);
}

std::string table_dtype(model::WeightFormat format) {
  using enum model::WeightFormat;
  switch (format) {
    case kBf16:
      return "bfloat16";
    case kFp8Block:
    case kMxfp8:
      return "fp8_block";  // the nearest rows there are
    case kFp8:
      return "fp8";
    case kNvfp4:
      return "nvfp4";
    case kMxfp4:
      return "w4a16_mxfp4";
    case kInt4:
      return "int4_wo";
    case kInt8:
      return "int8_wo";
  }
  return "bfloat16";
}

Formats formats_of(const model::ModelSpec& spec, const FormatChoice& choice,
                   bool glm_fp8_attention_as_bf16) {
  // A layer with experts stands for the MLPs, where there is one.
  const model::LayerPlan* mlp = &spec.layers.front();
  for (const auto& layer : spec.layers)
    if (!layer.is_mtp && layer.mlp == model::MlpKind::kMoe) {
      mlp = &layer;
      break;
    }
  Formats formats{.gemm = table_dtype(mlp->mlp_formats.dense),
                  .attention = table_dtype(model::typical_layer(spec).formats.o),
                  .shared = table_dtype(mlp->mlp_formats.shared),
                  .moe = table_dtype(mlp->mlp_formats.experts),
                  .kv = {}};
  const bool quantised = formats.moe != "bfloat16" || formats.gemm != "bfloat16";
  formats.kv = quantised ? "fp8" : "bfloat16";
  if (glm_fp8_attention_as_bf16 && spec.architecture == "GlmMoeDsaForCausalLM" &&
      formats.moe.starts_with("fp8"))
    formats.attention = "bfloat16";
  if (!choice.gemm.empty()) formats.gemm = formats.attention = formats.shared = choice.gemm;
  if (!choice.kv.empty()) formats.kv = choice.kv;
  return formats;
}

}  // namespace dsaperf::serving
