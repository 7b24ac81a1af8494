// The caller's plan cost, and what is wrong with it.
#include "model/plan_cost.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "bindings/bind.h"

namespace stageplan {
namespace {

namespace py = pybind11;

template <class Record>
py::bytes bytes_of(const Record* records, size_t count) {
  return {reinterpret_cast<const char*>(records), count * sizeof(Record)};
}

// Its attributes are what the function was given: the bytes of records.
void raise(const py::object& type, const PlanCostError& error) {
  const py::object raised = type(error.what());
  raised.attr("raised") = error.raised;
  raised.attr("stages") = bytes_of(error.stages.data(), error.stages.size());
  raised.attr("plan") = bytes_of(&error.plan, 1);
  PyErr_SetObject(type.ptr(), raised.ptr());
}

}  // namespace

void bind_plan_cost(py::module_& m) {
  const py::object input_error = py::module_::import("stageplan.errors").attr("InputError");
  static const py::handle failed = py::exception<PlanCostError>(m, "PlanCostError", input_error).release();
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const PlanCostError& error) {
      raise(py::reinterpret_borrow<py::object>(failed), error);
    }
  });
  py::class_<PlanCost, std::shared_ptr<PlanCost>>(m, "PlanCost")
      .def(py::init([](const std::string& name, std::uintptr_t function, std::uintptr_t constants,
                       std::vector<int> layout) {
             return PlanCost{name, reinterpret_cast<PlanCost::Function>(function),
                             reinterpret_cast<const void*>(constants), StageLayout(std::move(layout))};
           }),
           py::arg("name"), py::arg("function"), py::arg("constants"), py::arg("layout"));
}

}  // namespace stageplan
