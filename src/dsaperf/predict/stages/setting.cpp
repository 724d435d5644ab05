#include "dsaperf/predict/stages/setting.hpp"

#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr double kPerMilli = 1e-3;
constexpr double kBf16Bytes = 2;

}  // namespace

model::WeightFormat weight_format(std::string_view dtype) {
  using model::WeightFormat;
  // fp8 "static" and int8 "sq" name how they were made.
  constexpr std::array<std::pair<std::string_view, WeightFormat>, 9> kFormats = {
      {{"fp8_block", WeightFormat::kFp8Block},
       {"fp8", WeightFormat::kFp8},
       {"fp8_static", WeightFormat::kFp8},
       {"sq", WeightFormat::kInt8},
       {"int8", WeightFormat::kInt8},
       {"nvfp4", WeightFormat::kNvfp4},
       // Weights alone: they multiply in bf16.
       {"int4_wo", WeightFormat::kInt4},
       {"nvfp4_wo", WeightFormat::kMxfp4},
       {"bfloat16", WeightFormat::kBf16}}};
  const auto* const found = std::find_if(kFormats.begin(), kFormats.end(),
                                         [&](const auto& f) { return f.first == dtype; });
  return found == kFormats.end() ? WeightFormat::kBf16 : found->second;
}

std::string_view name(Regime regime) {
  return regime == Regime::kDense ? "dense" : "sparse";
}

Result<Setting> make_setting(const perfdb::SystemFile& system, const LayerKind& kind, Phase phase,
                             Regime regime, bool own_indexer) {
  DSAPERF_TRY_ASSIGN(const auto gemm, compatible::dtype_traits(kind.gemm_dtype));
  Setting setting;
  const auto dims = kind.sizes.value_or(known_sizes(kind.architecture));
  setting.hidden = dims.hidden;
  setting.q_lora = dims.q_lora;
  setting.kv_lora = dims.kv_lora;
  setting.nope = dims.nope;
  setting.rope = dims.rope;
  setting.v = dims.v;
  setting.topk = dims.topk;
  setting.index_heads = dims.index_heads;
  setting.index_dim = dims.index_dim;
  setting.own_indexer = own_indexer;
  setting.weights = weight_format(kind.gemm_dtype);
  setting.weight_bytes = gemm.bytes;
  setting.fp8_cache = kind.kv_dtype == "fp8";
  const double latent = dims.kv_lora + dims.rope;
  // fp8 rows keep the rope part in bf16 and a scale for 128 values.
  setting.kv_row_bytes = setting.fp8_cache
                             ? dims.kv_lora + dims.kv_lora / 128 * 4 + dims.rope * kBf16Bytes
                             : latent * kBf16Bytes;
  DSAPERF_TRY_ASSIGN(const double gemm_rate, system.rate(gemm.rate));
  DSAPERF_TRY_ASSIGN(const double bf16_rate, system.rate("bfloat16"));
  setting.gemm_flops = gemm_rate * kPerMilli;
  setting.bf16_flops = bf16_rate * kPerMilli;
  // Cards without fp8 score in bf16.
  setting.fp8_flops = system.rate("fp8").value_or(bf16_rate) * kPerMilli;
  setting.bytes = system.mem_bw * kPerMilli;
  setting.padded_heads = system.sm_version >= 100 ? 128 : 64;
  setting.sms = system.sm_version >= 100 ? 148 : 132;
  // 32 bytes a cycle at 1.3 GHz: 5.5 TB/s on H100 and H200, where 5.5 to 5.7 were measured.
  constexpr double kL2BytesPerSm = 4.2e7;
  setting.l2_bytes = kL2BytesPerSm * setting.sms;
  setting.phase = phase;
  setting.regime = regime;
  return setting;
}

}  // namespace dsaperf::predict::stages
