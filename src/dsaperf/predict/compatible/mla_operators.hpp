#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"
#include "dsaperf/predict/compatible/latency_grid.hpp"

#include <memory>
#include <string>

namespace dsaperf::predict::compatible {

// Sizes that aiconfigurator writes into what it has of MLA: DeepSeek-V3's. Of a head, but for the
// first four.
namespace mla_sizes {
inline constexpr int kHidden = 7168;
inline constexpr int kQLora = 1536;
inline constexpr int kKvLora = 512;
inline constexpr int kLatent = 576;  // kKvLora and rope: a row of the cache
inline constexpr int kRope = 64;
inline constexpr int kNope = 128;
inline constexpr int kValue = 128;
inline constexpr int kQuery = kNope + kRope;
inline constexpr int kExpanded = kQuery + kValue;    // key and value
inline constexpr int kAbsorbed = kLatent + kKvLora;  // the same of the latent
}  // namespace mla_sizes

// Attention of an MLA model without selection (DeepSeek-V3), as its own kernel, as a whole module
// with projections, or as SGLang runs it beside DeepEP's exchanges: with all projections but the
// first. Three pairs of tables of the same axes.
enum class MlaPart { kKernel, kModule, kBesideDeepEp };

struct MlaKey {
  MlaPart part = MlaPart::kModule;
  std::string fmha_dtype = "bfloat16";
  std::string kv_dtype = "fp8";
  std::string gemm_dtype = "fp8_block";  // of the module
};

// Prefill. A cached prefix is the whole length's latency times 1 - prefix^2 / length^2 (also,
// wrongly, of the module with its projections: a quirk).
class MlaContextOperator {
 public:
  // Fails with kNotFound where no row has the key.
  static Result<MlaContextOperator> make(const perfdb::MlaTable& table,
                                         const perfdb::SystemFile& system, const MlaKey& key,
                                         int heads);
  // Empty where nothing can answer.
  std::optional<GridAnswer> ms(double batch, double new_tokens, double prefix) const;

 private:
  std::shared_ptr<const LatencyGrid> grid_;
  double heads_ = 0;
};

// Decode; `total` counts the new token.
class MlaGenerationOperator {
 public:
  static Result<MlaGenerationOperator> make(const perfdb::MlaTable& table,
                                            const perfdb::SystemFile& system, const MlaKey& key,
                                            int heads);
  std::optional<GridAnswer> ms(double batch, double total) const;

 private:
  std::shared_ptr<const LatencyGrid> grid_;
  double heads_ = 0;
};

// The absorbed product before or after the decode kernel.
class MlaBmmOperator {
 public:
  enum class Side { kBefore, kAfter };
  static Result<MlaBmmOperator> make(const perfdb::MlaBmmTable& table,
                                     const perfdb::SystemFile& system, std::string_view dtype,
                                     Side side, int heads);
  double ms(double tokens) const {
    return curve_.at(tokens, 1, [this](double at) { return bound_ms(at); });
  }
  CurveRegion region(double tokens) const { return curve_.region(tokens); }

 private:
  double bound_ms(double tokens) const;
  LatencyCurve curve_;
  double heads_ = 0, bytes_per_value_ = 0, bytes_per_s_ = 0, flop_per_s_ = 0;
};

}  // namespace dsaperf::predict::compatible
