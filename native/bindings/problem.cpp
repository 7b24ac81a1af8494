// The arrays of a problem, and the problem.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "model/plan_cost.h"

namespace stageplan {
namespace {

constexpr std::pair<const char*, std::vector<double> ProblemData::*> kArrays[] = {
    {"compute", &ProblemData::compute},
    {"send", &ProblemData::send},
    {"receive", &ProblemData::receive},
    {"compute_parallel", &ProblemData::compute_parallel},
    {"transfer_parallel", &ProblemData::transfer_parallel},
    {"memory", &ProblemData::memory},
    {"workspace", &ProblemData::workspace},
    {"price", &ProblemData::price},
    {"limit", &ProblemData::limit},
    {"capacity", &ProblemData::capacity},
    {"bandwidth", &ProblemData::bandwidth},
};

constexpr const char* kObjectives[] = {"cost", "throughput", "price"};  // in the order of `Objective`

const char* objective_name(const ProblemData& data) { return kObjectives[static_cast<int>(data.objective)]; }

void set_objective(ProblemData& data, const std::string& name) {
  const auto found = std::find(std::begin(kObjectives), std::end(kObjectives), name);
  if (found == std::end(kObjectives))
    throw std::invalid_argument("objective is '" + name + "'; it must be 'cost', 'throughput' or 'price'");
  data.objective = static_cast<Objective>(found - std::begin(kObjectives));
}

}  // namespace

void bind_problem(py::module_& m) {
  py::class_<ProblemData> data(m, "ProblemData");
  data.def(py::init<>())
      .def_readwrite("layers", &ProblemData::layers)
      .def_readwrite("types", &ProblemData::types)
      .def_readwrite("kinds", &ProblemData::kinds)
      .def_readwrite("fixed_price", &ProblemData::fixed_price)
      .def_readwrite("examples", &ProblemData::examples)
      .def_readwrite("min_throughput", &ProblemData::min_throughput)
      .def_readwrite("max_duration", &ProblemData::max_duration)
      .def_readwrite("max_cost", &ProblemData::max_cost)
      .def_readwrite("max_price", &ProblemData::max_price)
      .def_property("objective", &objective_name, &set_objective)
      .def_property(
          "by_type", [](const ProblemData& self) { return self.merge == Merge::type; },
          [](ProblemData& self, bool yes) { self.merge = yes ? Merge::type : Merge::adjacent; })
      .def_readwrite("overlap", &ProblemData::overlap)
      .def_readwrite("split", &ProblemData::split)
      .def_readwrite("max_devices_per_stage", &ProblemData::max_devices_per_stage)
      .def(
          "set_columns",
          [](ProblemData& self, const Columns& columns) {
            self.columns = std::make_shared<const Columns>(columns);
          },
          py::arg("columns"))
      .def(
          "set_plan_cost",
          [](ProblemData& self, const std::shared_ptr<PlanCost>& plan_cost) { self.plan_cost = plan_cost; },
          py::arg("plan_cost"))
      .def("set_tensors", [](ProblemData& self, const std::vector<TensorTuple>& tensors) {
        self.tensors = make_tensors(tensors);
      });
  for (const auto& [name, member] : kArrays) {
    data.def_property(
        name,
        [member](const ProblemData& self) {
          const std::vector<double>& values = self.*member;
          return Doubles(static_cast<py::ssize_t>(values.size()), values.data());
        },
        [member](ProblemData& self, const Doubles& values) { self.*member = to_vector(values); });
  }
  py::class_<Problem>(m, "Problem")
      .def(py::init<ProblemData>(), py::arg("data"))
      .def_property_readonly("label_types", &Problem::label_types);
}

}  // namespace stageplan
