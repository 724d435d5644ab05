#include "dsaperf/predict/compatible/mla_operators.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <cmath>
#include <ranges>

namespace dsaperf::predict::compatible {
namespace {

using mla_sizes::kAbsorbed;
using mla_sizes::kExpanded;
using mla_sizes::kHidden;
using mla_sizes::kKvLora;
using mla_sizes::kLatent;
using mla_sizes::kNope;
using mla_sizes::kQLora;
using mla_sizes::kQuery;
using mla_sizes::kValue;

struct Rates {
  double fmha = 0, kv = 0, gemm = 0, bf16 = 0;  // FLOP/s
  double fmha_bytes = 0, kv_bytes = 0, gemm_bytes = 0, bandwidth = 0;
};

Result<Rates> rates_of(const perfdb::SystemFile& system, const MlaKey& key) {
  Rates rates;
  DSAPERF_TRY_ASSIGN(const auto fmha, dtype_traits(key.fmha_dtype));
  DSAPERF_TRY_ASSIGN(const auto kv, dtype_traits(key.kv_dtype));
  DSAPERF_TRY_ASSIGN(const auto gemm, dtype_traits(key.gemm_dtype));
  DSAPERF_TRY_ASSIGN(rates.fmha, system.rate(fmha.rate));
  DSAPERF_TRY_ASSIGN(rates.kv, system.rate(kv.rate));
  DSAPERF_TRY_ASSIGN(rates.gemm, system.rate(gemm.rate));
  DSAPERF_TRY_ASSIGN(const auto bf16, dtype_traits("bfloat16"));
  DSAPERF_TRY_ASSIGN(rates.bf16, system.rate(bf16.rate));
  rates.fmha_bytes = fmha.bytes;
  rates.kv_bytes = kv.bytes;
  rates.gemm_bytes = gemm.bytes;
  rates.bandwidth = system.mem_bw;
  return rates;
}

double bmm_bytes(double tokens, double heads, double bytes_per_value) {
  return heads * (tokens * (kNope + kKvLora) + kNope * kKvLora) * bytes_per_value;
}

// Axes heads, length, batch.
class ContextBoundMs final : public Bound {
 public:
  explicit ContextBoundMs(Rates rates) : rates_(rates) {}
  double at(const Point& point) const override {
    const auto [heads, length, batch, unused] = point;
    const double math = batch * heads * kExpanded * length * length / rates_.fmha;
    const double bytes =
        batch * heads * (rates_.kv_bytes * length * kExpanded + 2 * length * kExpanded);
    return std::max(math, bytes / rates_.bandwidth);
  }

 private:
  Rates rates_;
};

// Axes heads, batch, total.
class GenerationBoundMs final : public Bound {
 public:
  GenerationBoundMs(Rates rates, MlaPart part) : rates_(rates), part_(part) {}
  double at(const Point& point) const override {
    const auto [heads, batch, total, unused] = point;
    double math = 2 * batch * heads * kAbsorbed * total / rates_.kv;
    double bytes = batch * (2 * heads * kAbsorbed + (total - 1) * kLatent * rates_.kv_bytes);
    if (part_ == MlaPart::kModule) {  // with the absorbed products before and after
      math += 2 * (2 * batch * heads * kNope * kKvLora) / rates_.gemm;
      bytes += 2 * bmm_bytes(batch, heads, rates_.gemm_bytes);
    }
    return std::max(math, bytes / rates_.bandwidth);
  }

 private:
  Rates rates_;
  MlaPart part_;
};

// Beside DeepEP all products run in the format of attention and attention itself in BF16.
double beside_deepep_ms(double product_flops, double rate, double attention_flops, double bf16_rate,
                        double bytes, double bandwidth) {
  const double math = product_flops / rate + attention_flops / bf16_rate;
  return std::max(math, bytes / bandwidth) * 1e3;
}

// Axes heads, length, batch.
class ContextBesideDeepEpBoundMs final : public Bound {
 public:
  explicit ContextBesideDeepEpBoundMs(Rates rates) : rates_(rates) {}
  double at(const Point& point) const override {
    const auto [heads, length, batch, unused] = point;
    const double tokens = batch * length;
    const double query = kQuery * heads, key_value = (kNope + kValue) * heads,
                 value = kValue * heads;
    const double products = 2 * tokens * (kQLora * query + kKvLora * key_value + value * kHidden);
    const double attention = std::floor(heads * (kNope + kQuery) * batch * length * length);
    const double values = tokens * (kQLora + 2 * query) + kQLora * query +
                          tokens * (kKvLora + 2 * key_value) + kKvLora * key_value +
                          2 * tokens * heads * (2 * kQuery + 2 * kNope) +
                          tokens * (value + 2 * kHidden) + value * kHidden;
    return beside_deepep_ms(products, rates_.fmha, attention, rates_.bf16,
                            values * rates_.fmha_bytes, rates_.bandwidth);
  }

 private:
  Rates rates_;
};

// Axes heads, batch, total.
class GenerationBesideDeepEpBoundMs final : public Bound {
 public:
  explicit GenerationBesideDeepEpBoundMs(Rates rates) : rates_(rates) {}
  double at(const Point& point) const override {
    const auto [heads, batch, total, unused] = point;
    const double query = kQuery * heads, value = kValue * heads;
    const double products =
        2 * batch *
        (kQLora * query + heads * kNope * kKvLora + heads * kKvLora * kValue + value * kHidden);
    const double attention = 2 * batch * total * heads * kAbsorbed;
    const double values = batch * (kQLora + 2 * query) + kQLora * query +
                          heads * (batch * (kNope + 2 * kKvLora) + kNope * kKvLora) +
                          2 * (batch * heads * (kLatent + kKvLora) + batch * total * kLatent) +
                          heads * (batch * (kKvLora + 2 * kValue) + kKvLora * kValue) +
                          batch * (value + 2 * kHidden) + value * kHidden;
    return beside_deepep_ms(products, rates_.kv, attention, rates_.bf16, values * rates_.kv_bytes,
                            rates_.bandwidth);
  }

 private:
  Rates rates_;
};

// SGLang's default, which on Blackwell is another kernel.
std::string_view kernel_beside_deepep(const perfdb::MlaTable& table) {
  constexpr std::string_view kDefault = "flashinfer";
  const bool has_default = std::ranges::any_of(
      table.kinds, [&](const auto& kind) { return kind.kernel_source == kDefault; });
  return has_default ? kDefault : "trtllm_mla";
}

std::vector<bool> wanted_kinds(const perfdb::MlaTable& table, const MlaKey& key, bool with_fmha) {
  const auto kernel = kernel_beside_deepep(table);
  std::vector<bool> wanted;
  for (const auto& kind : table.kinds)
    wanted.push_back((!with_fmha || kind.mla_dtype == key.fmha_dtype) &&
                     kind.kv_dtype == key.kv_dtype &&
                     (key.part != MlaPart::kModule || kind.gemm_dtype == key.gemm_dtype) &&
                     (key.part != MlaPart::kBesideDeepEp || kind.kernel_source == kernel));
  return wanted;
}

std::string_view name(MlaPart part) {
  switch (part) {
    case MlaPart::kKernel:
      return "kernel";
    case MlaPart::kModule:
      return "module";
    case MlaPart::kBesideDeepEp:
      break;
  }
  return "beside DeepEP";
}

std::shared_ptr<const Bound> context_bound(const Rates& rates, MlaPart part) {
  if (part == MlaPart::kBesideDeepEp) return std::make_shared<ContextBesideDeepEpBoundMs>(rates);
  return std::make_shared<ContextBoundMs>(rates);
}

std::shared_ptr<const Bound> generation_bound(const Rates& rates, MlaPart part) {
  if (part == MlaPart::kBesideDeepEp) return std::make_shared<GenerationBesideDeepEpBoundMs>(rates);
  return std::make_shared<GenerationBoundMs>(rates, part);
}

Result<std::shared_ptr<const LatencyGrid>> grid_of(std::vector<LatencyGrid::Sample> samples,
                                                   std::shared_ptr<const Bound> bound,
                                                   const MlaKey& key,
                                                   std::optional<std::size_t> square_root_axis) {
  if (samples.empty())
    return fail(Errc::kNotFound, "no MLA {} rows with fmha {}, KV {}, GEMMs {}", name(key.part),
                key.fmha_dtype, key.kv_dtype, key.gemm_dtype);
  // The grid keeps the last of equal points; here the first row counts.
  std::reverse(samples.begin(), samples.end());
  return std::make_shared<const LatencyGrid>(3, std::move(samples), std::move(bound),
                                             square_root_axis);
}

}  // namespace

Result<MlaContextOperator> MlaContextOperator::make(const perfdb::MlaTable& table,
                                                    const perfdb::SystemFile& system,
                                                    const MlaKey& key, int heads) {
  DSAPERF_TRY_ASSIGN(const auto rates, rates_of(system, key));
  const auto wanted = wanted_kinds(table, key, true);
  std::vector<LatencyGrid::Sample> samples;
  for (const auto& row : table.rows)
    if (wanted[static_cast<std::size_t>(row.kind)])
      samples.push_back(
          {.at = {row.heads, row.new_tokens, row.batch, 0}, .latency = row.latency.millis()});
  MlaContextOperator mla;
  DSAPERF_TRY_ASSIGN(
      mla.grid_, grid_of(std::move(samples), context_bound(rates, key.part), key, std::size_t{1}));
  mla.heads_ = heads;
  return mla;
}

std::optional<GridAnswer> MlaContextOperator::ms(double batch, double new_tokens,
                                                 double prefix) const {
  const double length = new_tokens + prefix;
  auto answer = grid_->at({heads_, length, batch, 0});
  if (answer) answer->latency *= 1 - prefix * prefix / (length * length);
  return answer;
}

Result<MlaGenerationOperator> MlaGenerationOperator::make(const perfdb::MlaTable& table,
                                                          const perfdb::SystemFile& system,
                                                          const MlaKey& key, int heads) {
  DSAPERF_TRY_ASSIGN(const auto rates, rates_of(system, key));
  const auto wanted = wanted_kinds(table, key, false);
  std::vector<LatencyGrid::Sample> samples;
  for (const auto& row : table.rows)
    if (wanted[static_cast<std::size_t>(row.kind)])
      samples.push_back({.at = {row.heads, row.batch, row.new_tokens + row.past_tokens, 0},
                         .latency = row.latency.millis()});
  MlaGenerationOperator mla;
  DSAPERF_TRY_ASSIGN(mla.grid_,
                     grid_of(std::move(samples), generation_bound(rates, key.part), key, {}));
  mla.heads_ = heads;
  return mla;
}

std::optional<GridAnswer> MlaGenerationOperator::ms(double batch, double total) const {
  return grid_->at({heads_, batch, total, 0});
}

Result<MlaBmmOperator> MlaBmmOperator::make(const perfdb::MlaBmmTable& table,
                                            const perfdb::SystemFile& system,
                                            std::string_view dtype, Side side, int heads) {
  DSAPERF_TRY_ASSIGN(const auto traits, dtype_traits(dtype));
  MlaBmmOperator bmm;
  DSAPERF_TRY_ASSIGN(bmm.flop_per_s_, system.rate(traits.rate));
  bmm.bytes_per_value_ = traits.bytes;
  bmm.bytes_per_s_ = system.mem_bw;
  bmm.heads_ = heads;
  const std::string_view name = side == Side::kBefore ? "mla_gen_pre" : "mla_gen_post";
  std::vector<LatencyCurve::Point> points;
  for (const auto& row : table.rows) {
    const auto& kind = table.kinds[static_cast<std::size_t>(row.kind)];
    if (kind.bmm_dtype == dtype && kind.op_name == name && row.heads == heads)
      points.push_back({.size = static_cast<double>(row.tokens), .ms = row.latency.millis()});
  }
  bmm.curve_ = LatencyCurve::from_points(std::move(points));
  if (bmm.curve_.empty())
    return fail(Errc::kNotFound, "no {} rows of {} for {} heads", name, dtype, heads);
  return bmm;
}

double MlaBmmOperator::bound_ms(double tokens) const {
  const double math = 2 * tokens * heads_ * kNope * kKvLora / flop_per_s_;
  return std::max(math, bmm_bytes(tokens, heads_, bytes_per_value_) / bytes_per_s_) * 1e3;
}

}  // namespace dsaperf::predict::compatible
