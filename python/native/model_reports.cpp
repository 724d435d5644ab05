#include "dsaperf/model/analysis.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/report/analyze.hpp"
#include "report_parts.hpp"
#include "reports.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <nlohmann/json.hpp>

namespace nb = nanobind;

namespace dsaperf::python {
namespace {

nb::tuple analyze(const std::string& config, const std::string& against, int tp, int dp, int ep,
                  std::int64_t chunk, std::int64_t context, double score_budget_gib) {
  const auto report = [&] {
    const nb::gil_scoped_release unlocked;
    auto spec = load(config);
    if (tp < 1 || dp < 1 || ep < 1) refuse("tp {}, dp {}, ep {}: none may be below 1", tp, dp, ep);
    const model::AnalysisOptions options{
        .parallel = model::Parallel::of(tp, dp, ep),
        .chunk = chunk,
        .context = context,
        .score_budget = {static_cast<std::int64_t>(score_budget_gib * (1 << 30))}};
    const auto analysis =
        against.empty()
            ? take(model::analyse(std::move(spec), options, take(model::load_bundled_models())))
            : take(model::analyse_against(std::move(spec), options, load(against)));
    return rendered(report::analyze_document(analysis), report::analyze_text(analysis, {}));
  }();
  return as_tuple(report);
}

}  // namespace

void bind_model_reports(nb::module_& module) {
  module.def("analyze", &analyze, nb::arg("config"), nb::arg("against"), nb::arg("tp"),
             nb::arg("dp"), nb::arg("ep"), nb::arg("chunk"), nb::arg("context"),
             nb::arg("score_budget_gib"));
  module.def("bundled_models", [] { return take(model::bundled_models()); });
}

}  // namespace dsaperf::python
