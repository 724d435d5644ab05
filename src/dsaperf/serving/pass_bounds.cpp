#include "dsaperf/serving/pass_bounds.hpp"

#include <algorithm>

namespace dsaperf::serving {
namespace {

struct Bounded {
  double ms = 0;
  Limit limit = Limit::kMemory;
};

template <typename Parts>
Bounded larger(const Parts& parts) {
  return parts.math_ms > parts.memory_ms ? Bounded{parts.math_ms, Limit::kMath}
                                         : Bounded{parts.memory_ms, Limit::kMemory};
}

struct BoundOf {
  const PassSizes& sizes;

  Bounded operator()(const MemoryOperator& use) const {
    return {use.bound_ms_per_token * use.tokens(sizes), use.limit};
  }
  Bounded operator()(const GemmUse& use) const { return larger(use.gemm.bound(use.rows(sizes))); }
  Bounded operator()(const MoeUse& use) const {
    return larger(use.moe.least(sizes.tokens * use.ranks));
  }
  Bounded operator()(const CommUse& use) const {
    double ms = 0;
    for (const auto& [comm, per_token] : use.steps) ms += comm.bound_ms(sizes.tokens * per_token);
    return {ms, Limit::kLink};
  }
  Bounded operator()(const DsaUse&) const { return {}; }  // by stages
  Bounded operator()(const DeepEpUse&) const { return {}; }
  Bounded operator()(const MlaContextUse&) const { return {}; }
  Bounded operator()(const MlaGenerationUse&) const { return {}; }
  Bounded operator()(const MlaBmmUse&) const { return {}; }
};

void add(LineBound& bound, const Bounded& part, double count) {
  bound.ms_by_limit[static_cast<std::size_t>(part.limit)] += count * part.ms;
}

void add_stages(LineBound& bound, const DsaUse& use, const PassSizes& sizes, double count,
                double line_ms) {
  if (!use.stages) return;
  for (const auto& share : use.stages->split(use.shape(sizes), line_ms / count)) {
    const Bounded part = larger(share.bound);
    add(bound, part, count);
    bound.stages.push_back({.name = share.stage,
                            .ms = count * share.ms,
                            .bound_ms = count * part.ms,
                            .binds = part.ms > 0 ? name(part.limit) : ""});
  }
}

LineBound sum_of(const std::vector<PassOperator>& operators, const PassSizes& sizes,
                 double line_ms) {
  LineBound sum;
  for (const PassOperator& op : operators) {
    add(sum, std::visit(BoundOf{sizes}, op.kind), op.count);
    if (const auto* dsa = std::get_if<DsaUse>(&op.kind))
      add_stages(sum, *dsa, sizes, op.count, line_ms);
  }
  return sum;
}

}  // namespace

Limit LineBound::binds() const {
  return static_cast<Limit>(std::max_element(ms_by_limit.begin(), ms_by_limit.end()) -
                            ms_by_limit.begin());
}

LineBound bound_of(const PassItem& item, const PassSizes& sizes, const OperatorTime& time) {
  auto bound = sum_of(item.operators, sizes, time.ms);
  if (item.beside.empty()) return bound;
  auto beside = sum_of(item.beside, sizes, time.ms);
  return beside.ms() > bound.ms() ? beside : bound;
}

}  // namespace dsaperf::serving
