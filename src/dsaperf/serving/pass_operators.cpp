#include "dsaperf/serving/pass_operators.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

using predict::Source;
namespace compatible = predict::compatible;

Source source_of(compatible::CurveRegion region) {
  switch (region) {
    case compatible::CurveRegion::kExact:
      return Source::kMeasured;
    case compatible::CurveRegion::kInside:
      return Source::kInterpolated;
    case compatible::CurveRegion::kOutside:
      return Source::kExtrapolated;
    case compatible::CurveRegion::kModelled:
      return Source::kModelled;
  }
  return Source::kExtrapolated;
}

Source source_of(compatible::Found found) {
  switch (found) {
    case compatible::Found::kExact:
      return Source::kMeasured;
    case compatible::Found::kInterior:
      return Source::kInterpolated;
    case compatible::Found::kHeld:
      return Source::kExtrapolated;
  }
  return Source::kExtrapolated;
}

Result<OperatorTime> answered(const std::optional<compatible::GridAnswer>& answer) {
  if (!answer) return fail(Errc::kNotFound, "no row near this size");
  return OperatorTime{.ms = answer->latency, .source = source_of(answer->found)};
}

double share(double tokens, int ranks) {
  return std::max(std::floor(tokens / ranks), 1.0);
}

// Of the rank that has most.
double split(double tokens, int ranks) {
  return ranks == 1 ? tokens : std::ceil(tokens / ranks);
}

struct TimeOf {
  const PassSizes& sizes;

  Result<OperatorTime> operator()(const MemoryOperator& use) const {
    return OperatorTime{.ms = use.ms_fixed + use.ms_per_token * use.tokens(sizes),
                        .source = Source::kModelled};
  }
  Result<OperatorTime> operator()(const GemmUse& use) const {
    const double m = use.rows(sizes);
    return OperatorTime{.ms = use.gemm.ms(m), .source = source_of(use.gemm.region(m))};
  }
  Result<OperatorTime> operator()(const DeepEpUse& use) const {
    const double tokens = share(sizes.tokens, use.ranks);
    return OperatorTime{.ms = use.exchange.ms(tokens),
                        .source = source_of(use.exchange.region(tokens))};
  }
  Result<OperatorTime> operator()(const MoeUse& use) const {
    const double tokens = sizes.shared_tokens() * use.ranks;
    return OperatorTime{.ms = use.moe.ms(tokens), .source = source_of(use.moe.region(tokens))};
  }
  Result<OperatorTime> operator()(const CommUse& use) const {
    OperatorTime sum;
    for (const auto& [comm, per_token] : use.steps) {
      const double elements = sizes.shared_tokens() * per_token;
      sum.ms += comm.ms(elements);
      sum.source = std::max(sum.source, source_of(comm.region(elements)));
    }
    return sum;
  }
  Result<OperatorTime> operator()(const DsaUse& use) const {
    const auto shape = use.shape(sizes);
    DSAPERF_TRY_ASSIGN(const auto latency,
                       std::visit([&](const auto& of) { return of.at(shape); }, use.layer));
    return OperatorTime{.ms = latency.time.millis(),
                        .source = use.stands_in ? Source::kModelled : latency.source};
  }
  Result<OperatorTime> operator()(const MlaContextUse& use) const {
    if (use.prompt_ranks == 1)
      return answered(use.mla.ms(sizes.batch, sizes.new_tokens, sizes.past));
    const double piece = std::ceil(sizes.new_tokens / (2 * use.prompt_ranks));
    DSAPERF_TRY_ASSIGN(auto both, answered(use.mla.ms(sizes.batch, piece, sizes.past)));
    DSAPERF_TRY_ASSIGN(
        const auto last,
        answered(use.mla.ms(sizes.batch, piece, sizes.past + sizes.new_tokens - piece)));
    both.ms += last.ms;
    both.source = std::max(both.source, last.source);
    return both;
  }
  Result<OperatorTime> operator()(const MlaGenerationUse& use) const {
    return answered(use.mla.ms(sizes.batch, sizes.new_tokens + sizes.past));
  }
  Result<OperatorTime> operator()(const MlaBmmUse& use) const {
    return OperatorTime{.ms = use.bmm.ms(sizes.batch),
                        .source = source_of(use.bmm.region(sizes.batch))};
  }
};

Result<OperatorTime> sum_of(const std::vector<PassOperator>& operators, const PassSizes& sizes) {
  OperatorTime sum;
  for (const PassOperator& op : operators) {
    DSAPERF_TRY_ASSIGN(const auto time, time_of(op, sizes));
    sum.ms += time.ms;
    sum.source = std::max(sum.source, time.source);
  }
  return sum;
}

}  // namespace

std::string_view name(Limit limit) {
  switch (limit) {
    case Limit::kMath:
      return "math";
    case Limit::kMemory:
      return "memory";
    case Limit::kLink:
      return "link";
  }
  return "";
}

double MemoryOperator::tokens(const PassSizes& sizes) const {
  return split(sizes.tokens, prompt_ranks);
}

double GemmUse::rows(const PassSizes& sizes) const {
  return split(logits ? sizes.rows_out : share(sizes.tokens, ranks), prompt_ranks);
}

predict::LayerShape DsaUse::shape(const PassSizes& sizes) const {
  return {.phase = phase,
          .heads = heads,
          .batch = static_cast<std::int64_t>(sizes.batch),
          .new_tokens = static_cast<std::int64_t>(sizes.new_tokens),
          .past_tokens = static_cast<std::int64_t>(sizes.past),
          .full_layer_share = full_layer_share,
          .context_parallel = context_parallel};
}

Result<OperatorTime> time_of(const PassOperator& op, const PassSizes& sizes) {
  auto time = std::visit(TimeOf{sizes}, op.kind);
  if (!time) return fail(time.error().code(), "{}: {}", op.name, time.error().message());
  time->ms *= op.count;
  return time;
}

Result<OperatorTime> time_of(const PassItem& item, const PassSizes& sizes) {
  DSAPERF_TRY_ASSIGN(auto sum, sum_of(item.operators, sizes));
  if (item.beside.empty()) return sum;
  DSAPERF_TRY_ASSIGN(const auto beside, sum_of(item.beside, sizes));
  return OperatorTime{.ms = std::max(sum.ms, beside.ms),
                      .source = std::max(sum.source, beside.source)};
}

}  // namespace dsaperf::serving
