#pragma once

#include <nanobind/nanobind.h>

namespace dsaperf::python {

// Each function answers as the command of its name does: the document of --json as text, and what
// a terminal shows. Functions that take long let other Python threads run.
void bind_model_reports(nanobind::module_& module);       // analyze, bundled_models
void bind_prediction_reports(nanobind::module_& module);  // query, stages, estimate, sweep
void bind_trace_reports(nanobind::module_& module);       // trace, align

}  // namespace dsaperf::python
