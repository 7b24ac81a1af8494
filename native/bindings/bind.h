// The parts of the module, one function per file of bindings.
#pragma once

#include <pybind11/pybind11.h>

namespace stageplan {

void bind_stop(pybind11::module_& m);
void bind_columns(pybind11::module_& m);
void bind_plan_cost(pybind11::module_& m);
void bind_problem(pybind11::module_& m);
void bind_scorer(pybind11::module_& m);
void bind_orders(pybind11::module_& m);
void bind_searches(pybind11::module_& m);
void bind_solve_many(pybind11::module_& m);
void bind_policy(pybind11::module_& m);
void bind_capi(pybind11::module_& m);
void bind_testing(pybind11::module_& m);

}  // namespace stageplan
