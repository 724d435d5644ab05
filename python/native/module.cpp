#include "arrow_table.hpp"
#include "failure.hpp"
#include "kernels.hpp"
#include "reports.hpp"
#include <dsaperf/dsaperf.h>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace {

// The one place where a failure becomes an exception: dsaperf.Error(message, code).
void translate(const std::exception_ptr& exception, void*) {
  try {
    std::rethrow_exception(exception);
  } catch (const dsaperf::python::Failure& failure) {
    const nb::object error = nb::module_::import_("dsaperf._error").attr("Error");
    const nb::object raised = error(failure.what(), failure.code());
    PyErr_SetObject(error.ptr(), raised.ptr());
  }
}

}  // namespace

NB_MODULE(_native, module) {
  nb::register_exception_translator(translate);
  module.attr("__version__") = dsaperf_version();
  module.attr("with_cuda") = DSAPERF_WITH_CUDA != 0;
  dsaperf::python::bind_arrow_table(module);
  dsaperf::python::bind_model_reports(module);
  dsaperf::python::bind_prediction_reports(module);
  dsaperf::python::bind_trace_reports(module);
  dsaperf::python::bind_kernels(module);
  dsaperf::python::bind_layer(module);
}
