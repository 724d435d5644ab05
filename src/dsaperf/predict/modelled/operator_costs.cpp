#include "dsaperf/predict/modelled/operator_costs.hpp"

#include "dsaperf/core/csv_numbers.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"

#include <cassert>

namespace dsaperf::predict::modelled {
namespace {

constexpr std::array<std::string_view, 2> kKeys = {"operator", "format"};
constexpr std::array<std::string_view, 5> kOperators = {"gemm", "moe", "all_reduce", "collective",
                                                        "memory"};

}  // namespace

Result<OperatorCosts> OperatorCosts::shipped() {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  return read(data / "serving" / "modelled.csv");
}

Result<OperatorCosts> OperatorCosts::read(const std::filesystem::path& path) {
  std::vector<std::string_view> names;
  for (const CostField& field : kCostFields) names.push_back(field.name);
  DSAPERF_TRY_ASSIGN(const auto rows, read_number_rows(path, kKeys, names));
  OperatorCosts costs;
  for (const NumberRow& row : rows) {
    OperatorCost& cost = costs.costs_[row.words[0]][row.words[1]];
    for (std::size_t i = 0; i < kCostFields.size(); ++i)
      cost.*kCostFields[i].value = row.numbers[i];
    for (const double share : {cost.math_share, cost.memory_share, cost.link_share})
      if (!(share > 0))
        return fail(Errc::kParse, "{}: {}: a share of {} is not positive", path.native(),
                    row.words[0], share);
  }
  for (const auto op : kOperators) {
    const auto found = costs.costs_.find(op);
    if (found == costs.costs_.end() || !found->second.contains(""))
      return fail(Errc::kParse, "{}: no row of {} for any format", path.native(), op);
  }
  return costs;
}

const OperatorCost& OperatorCosts::of(std::string_view op, std::string_view format) const {
  const auto found = costs_.find(op);
  assert(found != costs_.end());
  const auto own = found->second.find(format);
  return own != found->second.end() ? own->second : found->second.find("")->second;
}

}  // namespace dsaperf::predict::modelled
