// The module that Python imports; nothing outside this folder knows Python.
#include <exception>
#include <stdexcept>

#include "bindings/bind.h"
#include "kernels/instruction_set.h"
#include "model/ties.h"

namespace {

namespace py = pybind11;

// What the core refuses is raised as the package's own class of a ValueError.
void raise_input_errors() {
  static const py::handle input_error =
      py::object(py::module_::import("stageplan.errors").attr("InputError")).release();
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const std::invalid_argument& error) {
      PyErr_SetString(input_error.ptr(), error.what());
    }
  });
}

}  // namespace

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace stageplan;
  m.doc() = "Native core of stageplan.";
  m.attr("TOLERANCE") = kTolerance;
  m.attr("TIE") = kTie;
  m.attr("MAX_DEVICES") = kMaxDevices;
  raise_input_errors();
  bind_stop(m);
  bind_columns(m);
  bind_plan_cost(m);
  bind_problem(m);
  bind_scorer(m);
  bind_orders(m);
  bind_searches(m);
  bind_solve_many(m);
  bind_policy(m);
  bind_capi(m);
  pybind11::module_ testing =
      m.def_submodule("testing", "Parts of the core that only tests and benchmarks call.");
  bind_testing(testing);
}
