#include "dsaperf/predict/modelled/cost_fit.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/predict/compatible/communication.hpp"
#include "dsaperf/predict/compatible/gemm_operator.hpp"
#include "dsaperf/predict/compatible/moe_operator.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

namespace dsaperf::predict::modelled {
namespace {

using compatible::CommOperator;
using compatible::GemmBound;
using compatible::MoeOperator;

constexpr int kNearest = 0;  // older versions that fill a table up were measured with other kernels
constexpr int kMostRanks = 8;  // experts over more than a node are not modelled
constexpr std::string_view kLoad = "power_law_1.01";
constexpr std::string_view kBf16 = "bfloat16";

void add_gemms(std::vector<CostSamples>& all, const perfdb::GemmTable& table,
               const perfdb::SystemFile& system) {
  std::map<std::string, CostSamples> by_format;
  for (const auto& row : table.rows) {
    if (row.source != kNearest) continue;
    const auto& format = table.kinds[static_cast<std::size_t>(row.kind)].gemm_dtype;
    auto found = by_format.find(format);
    if (found == by_format.end())
      found =
          by_format.emplace(format, CostSamples{.op = "gemm", .format = format, .rows = {}}).first;
    const auto bound = GemmBound::make(system, format);
    if (!bound) continue;  // a format without a rate
    const auto parts = bound->parts(row.m, row.n, row.k);
    found->second.rows.push_back(
        {.measured_ms = row.latency.millis(),
         .modelled_ms = [parts](const OperatorCost& cost) { return cost.ms(parts); }});
  }
  for (auto& [format, samples] : by_format)
    if (!samples.rows.empty()) all.push_back(std::move(samples));
}

void add_experts(std::vector<CostSamples>& all, const perfdb::MoeTable& table,
                 const perfdb::SystemFile& system, const std::vector<ExpertShape>& experts) {
  std::map<std::string, CostSamples> by_format;
  std::map<std::string, std::shared_ptr<const MoeOperator>> operators;
  for (const auto& row : table.rows) {
    const auto& kind = table.kinds[static_cast<std::size_t>(row.kind)];
    const auto asked = [&](const ExpertShape& shape) {
      return row.hidden == shape.hidden && row.inter == shape.inter && row.topk == shape.topk &&
             row.experts == shape.experts;
    };
    if (row.source != kNearest || kind.distribution != kLoad ||
        row.moe_tp * row.moe_ep > kMostRanks || std::none_of(experts.begin(), experts.end(), asked))
      continue;
    const auto name =
        fmt::format("{} {} {} {}", kind.moe_dtype, row.hidden, row.moe_tp, row.moe_ep);
    auto known = operators.find(name);
    if (known == operators.end()) {
      auto made = MoeOperator::modelled({}, system,
                                        {.dtype = kind.moe_dtype,
                                         .distribution = kind.distribution,
                                         .hidden = row.hidden,
                                         .inter = row.inter,
                                         .topk = row.topk,
                                         .experts = row.experts,
                                         .moe_tp = row.moe_tp,
                                         .moe_ep = row.moe_ep});
      if (!made) continue;  // a format without a rate
      known = operators.emplace(name, std::make_shared<const MoeOperator>(*std::move(made))).first;
    }
    auto& samples = by_format[kind.moe_dtype];
    const double ranks = row.moe_ep;
    const double tokens = row.tokens;
    samples.rows.push_back(
        {.measured_ms = row.latency.millis(),
         .modelled_ms = [moe = known->second, ranks, tokens](const OperatorCost& cost) {
           return cost.ms(moe->padded(tokens, std::pow(ranks, cost.rank_skew)));
         }});
  }
  for (auto& [format, samples] : by_format) {
    samples.op = "moe";
    samples.format = format;
    all.push_back(std::move(samples));
  }
}

// Rows of one operation among up to a node's GPUs; measurements without a CUDA graph hold launches.
template <typename Wanted>
void add_communication(CostSamples& samples, const perfdb::CommTable& table,
                       const perfdb::SystemFile& system, const Wanted& wanted) {
  for (const auto& row : table.rows) {
    const auto& kind = table.kinds[static_cast<std::size_t>(row.kind)];
    if (row.source != kNearest || row.gpus < 2 || row.gpus > system.gpus_per_node || !wanted(kind))
      continue;
    const double bound = CommOperator::modelled({}, system, kind.operation, row.gpus)
                             .bound_ms(static_cast<double>(row.elements));
    samples.rows.push_back(
        {.measured_ms = row.latency.millis(),
         .modelled_ms = [bound](const OperatorCost& cost) { return cost.link_ms(bound); }});
  }
}

struct Parameter {
  double OperatorCost::* value;
  bool is_share = false;
};

std::vector<Parameter> parameters(std::string_view op) {
  std::vector<Parameter> list = {{.value = &OperatorCost::fixed_us}};
  if (op == "gemm" || op == "moe") {
    list.push_back({.value = &OperatorCost::math_share, .is_share = true});
    list.push_back({.value = &OperatorCost::memory_share, .is_share = true});
  } else {
    list.push_back({.value = &OperatorCost::link_share, .is_share = true});
  }
  if (op == "moe") list.push_back({.value = &OperatorCost::rank_skew});
  return list;
}

double loss(const std::vector<CostSample>& rows, const OperatorCost& cost) {
  double sum = 0;
  for (const CostSample& row : rows)
    sum += std::abs(std::log(row.modelled_ms(cost) / row.measured_ms));
  return sum / static_cast<double>(rows.size());
}

double three_digits(double value) {
  if (value == 0) return 0;
  const double scale = std::pow(10, 2 - std::floor(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}

}  // namespace

Result<std::vector<CostSamples>> cost_samples(const perfdb::SystemsTree& tree,
                                              std::string_view system_name,
                                              std::string_view backend,
                                              const std::vector<ExpertShape>& experts) {
  DSAPERF_TRY_ASSIGN(const auto system, tree.system(system_name));
  DSAPERF_TRY_ASSIGN(const auto version, tree.resolve_version(system_name, backend, ""));
  std::vector<CostSamples> all;
  DSAPERF_TRY_ASSIGN(const auto gemms,
                     perfdb::load_gemm_table(tree, system_name, backend, version));
  add_gemms(all, gemms, system);
  DSAPERF_TRY_ASSIGN(const auto moes, perfdb::load_moe_table(tree, system_name, backend, version));
  add_experts(all, moes, system, experts);
  DSAPERF_TRY_ASSIGN(const auto reduces,
                     perfdb::load_allreduce_table(tree, system_name, backend, version));
  CostSamples reduce{.op = "all_reduce", .format = "half", .rows = {}};
  add_communication(reduce, reduces, system, [](const perfdb::CommKind& kind) {
    return kind.variant.find("eager") == std::string::npos &&
           kind.kernel_source.find("eager") == std::string::npos;
  });
  DSAPERF_TRY_ASSIGN(const auto collectives,
                     perfdb::load_collective_table(tree, system_name, "nccl"));
  CostSamples nccl{.op = "collective", .format = "half", .rows = {}};
  add_communication(nccl, collectives, system, [](const perfdb::CommKind& kind) {
    return kind.dtype == "half" &&
           (kind.operation == "all_gather" || kind.operation == "reduce_scatter");
  });
  for (auto* samples : {&reduce, &nccl})
    if (!samples->rows.empty()) all.push_back(std::move(*samples));
  return all;
}

CostError cost_error(const std::vector<CostSample>& rows, const OperatorCost& cost) {
  if (rows.empty()) return {};
  std::vector<double> errors, ratios;
  CostError error{.rows = rows.size()};
  for (const CostSample& row : rows) {
    ratios.push_back(row.modelled_ms(cost) / row.measured_ms);
    errors.push_back(std::abs(ratios.back() - 1));
    error.mean += errors.back() / static_cast<double>(rows.size());
  }
  std::sort(errors.begin(), errors.end());
  std::sort(ratios.begin(), ratios.end());
  const auto last = static_cast<double>(rows.size() - 1);
  error.median = errors[static_cast<std::size_t>(0.5 * last)];
  error.p90 = errors[static_cast<std::size_t>(0.9 * last)];
  error.bias = ratios[static_cast<std::size_t>(0.5 * last)] - 1;
  return error;
}

OperatorCost fitted(const std::vector<CostSample>& rows, std::string_view op,
                    const OperatorCost& start) {
  OperatorCost best = start;
  double least = loss(rows, best);
  for (double step = 0.4; step > 0.002;) {
    bool moved = false;
    for (const Parameter& parameter : parameters(op)) {
      for (const double way : {1 + step, 1 / (1 + step)}) {
        OperatorCost next = best;
        next.*parameter.value *= way;
        if (parameter.is_share) next.*parameter.value = std::min(next.*parameter.value, 1.0);
        const double there = loss(rows, next);
        if (there >= least) continue;
        best = next;
        least = there;
        moved = true;
      }
    }
    if (!moved) step /= 2;
  }
  for (const CostField& field : kCostFields) best.*field.value = three_digits(best.*field.value);
  return best;
}

Result<std::vector<FittedCost>> fit_costs(const perfdb::SystemsTree& tree, std::string_view system,
                                          std::string_view backend,
                                          const std::vector<ExpertShape>& experts) {
  DSAPERF_TRY_ASSIGN(const auto samples, cost_samples(tree, system, backend, experts));
  DSAPERF_TRY_ASSIGN(const auto file, tree.system(system));
  std::vector<FittedCost> all;
  const auto fit = [&](const std::string& op, const std::string& format, const std::string& of,
                       const auto& wanted, const OperatorCost& start) -> Result<void> {
    std::vector<CostSample> rows;
    for (const CostSamples& sample : samples)
      if (sample.op == op && wanted(sample.format))
        rows.insert(rows.end(), sample.rows.begin(), sample.rows.end());
    if (rows.empty())
      return fail(Errc::kNotFound, "{} on {}: no rows of {} {}", backend, system, op, of);
    const auto cost = fitted(rows, op, start);
    all.push_back({.op = op,
                   .format = format,
                   .cost = cost,
                   .source = fmt::format("{} rows of {} {} on {}", rows.size(),
                                         op == "collective" ? "nccl" : backend, of, system)});
    return {};
  };
  const OperatorCost start{.fixed_us = 5, .math_share = 0.6, .memory_share = 0.7};
  const OperatorCost grouped{
      .fixed_us = 60, .math_share = 0.4, .memory_share = 0.9, .rank_skew = 0.5};
  const OperatorCost sent{.fixed_us = 5, .link_share = 0.6};
  const auto any = [](const std::string&) { return true; };
  const auto blocks = [](const std::string& format) { return format == "fp8_block"; };
  DSAPERF_TRY(fit(
      "gemm", std::string(kBf16), "bfloat16",
      [](const std::string& format) { return format == kBf16; }, start));
  DSAPERF_TRY(fit("gemm", "", "fp8_block", blocks, start));
  DSAPERF_TRY(fit("moe", "", "fp8_block experts of DSA models", blocks, grouped));
  DSAPERF_TRY(fit("all_reduce", "", "custom all-reduce", any, sent));
  DSAPERF_TRY(fit("collective", "", "all-gather and reduce-scatter", any, sent));
  all.push_back({.op = "memory",
                 .format = "",
                 .cost = {.fixed_us = three_digits(file.mem_latency_s * 1e6),
                          .memory_share = file.mem_bw_scaling},
                 .source = fmt::format("systems/{}.yaml of aiconfigurator", system)});
  return all;
}

std::string csv(const std::vector<FittedCost>& rows) {
  CsvWriter writer;
  writer.field("operator").field("format");
  for (const CostField& field : kCostFields) writer.field(field.name);
  writer.field("source");
  writer.end_row();
  for (const FittedCost& row : rows) {
    writer.field(row.op).field(row.format);
    for (const CostField& field : kCostFields) writer.field(row.cost.*field.value);
    writer.field(row.source);
    writer.end_row();
  }
  return writer.text();
}

}  // namespace dsaperf::predict::modelled
