// The module that Python imports; nothing outside this folder knows Python.
#include "bindings/bind.h"
#include "kernels/instruction_set.h"
#include "model/ties.h"

PYBIND11_MODULE(_core, m) {
  using namespace stageplan;
  m.doc() = "Native core of stageplan.";
  m.attr("TOLERANCE") = kTolerance;
  m.attr("TIE") = kTie;
  m.attr("MAX_DEVICES") = kMaxDevices;
  bind_stop(m);
  bind_columns(m);
  bind_problem(m);
  bind_scorer(m);
  bind_orders(m);
  bind_searches(m);
  bind_solve_many(m);
  bind_policy(m);
  pybind11::module_ testing =
      m.def_submodule("testing", "Parts of the core that only tests and benchmarks call.");
  bind_testing(testing);
}
