// Strategies, schedules and listed options of a problem.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace stageplan {
namespace {

constexpr std::pair<const char*, std::vector<double> Columns::*> kArrays[] = {
    {"compute", &Columns::compute},
    {"send", &Columns::send},
    {"receive", &Columns::receive},
    {"compute_parallel", &Columns::compute_parallel},
    {"memory", &Columns::memory},
    {"sharded", &Columns::sharded},
    {"activations", &Columns::activations},
    {"workspace", &Columns::workspace},
    {"gradients", &Columns::gradients},
    {"update", &Columns::update},
    {"link", &Columns::link},
    {"network", &Columns::network},
    {"machine", &Columns::machine},
};

constexpr std::pair<const char*, Schedule> kSchedules[] = {
    {"", Schedule::none}, {"gpipe", Schedule::gpipe}, {"1f1b", Schedule::one_f_one_b}};

std::string schedule_name(const Columns& columns) {
  for (const auto& [name, schedule] : kSchedules)
    if (schedule == columns.schedule) return name;
  return "";
}

void set_schedule(Columns& columns, const std::string& given) {
  for (const auto& [name, schedule] : kSchedules) {
    if (given != name) continue;
    columns.schedule = schedule;
    return;
  }
  throw std::invalid_argument("schedule is '" + given + "'; it must be 'gpipe', '1f1b' or ''");
}

void set_listed(Columns& columns, const std::vector<int>& first, const std::vector<int>& last,
                const std::vector<int>& type, const std::vector<int>& devices, const Doubles& time,
                const Doubles& pass_time, const Doubles& memory, const Doubles& activations) {
  columns.listed = {first,
                    last,
                    type,
                    devices,
                    to_vector(time),
                    to_vector(pass_time),
                    to_vector(memory),
                    to_vector(activations)};
}

}  // namespace

void bind_columns(py::module_& m) {
  py::class_<Columns> columns(m, "Columns");
  columns.def(py::init<>())
      .def_readwrite("type", &Columns::type)
      .def_readwrite("degree", &Columns::degree)
      .def_readwrite("strategy", &Columns::strategy)
      .def_property("schedule", &schedule_name, &set_schedule)
      .def_readwrite("microbatches", &Columns::microbatches)
      .def_readwrite("batch", &Columns::batch)
      .def_readwrite("max_stages", &Columns::max_stages)
      .def_readwrite("whole_machines", &Columns::whole_machines)
      .def_readwrite("same_strategy", &Columns::same_strategy)
      .def_readwrite("same_replicas", &Columns::same_replicas)
      .def_readwrite("equal_shares", &Columns::equal_shares)
      .def("set_listed", &set_listed, py::arg("first"), py::arg("last"), py::arg("type"), py::arg("devices"),
           py::arg("time"), py::arg("pass_time"), py::arg("memory"), py::arg("activations"));
  for (const auto& [name, member] : kArrays) {
    columns.def_property(
        name,
        [member](const Columns& self) {
          const std::vector<double>& values = self.*member;
          return Doubles(static_cast<py::ssize_t>(values.size()), values.data());
        },
        [member](Columns& self, const Doubles& values) { self.*member = to_vector(values); });
  }
}

}  // namespace stageplan
