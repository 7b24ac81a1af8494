// Strategies, schedules and listed options of a problem.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>

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

// Keeps the array, which nobody may change, instead of a copy of its numbers.
template <class T>
Shared<T> shared(const std::optional<Reals<T>>& array) {
  if (!array) return {};
  const auto release = [](const Reals<T>* kept) {
    const py::gil_scoped_acquire held;
    delete kept;
  };
  const std::shared_ptr<const Reals<T>> kept(new Reals<T>(*array), release);
  return {std::shared_ptr<const T>(kept, kept->data()), static_cast<size_t>(kept->size())};
}

using Wholes = std::optional<Reals<int>>;
using Numbers = std::optional<Reals<double>>;

void set_listed(Columns& columns, const Reals<std::uint32_t>& begin, const Wholes& devices,
                const Wholes& column, const Wholes& replicas, const Reals<double>& time,
                const Numbers& pass_time, const Numbers& sync, const Numbers& memory,
                const Numbers& activations) {
  columns.listed = {.begin = shared<std::uint32_t>(begin),
                    .counted = !devices,
                    .devices = shared(devices),
                    .column = shared(column),
                    .replicas = shared(replicas),
                    .time = shared<double>(time),
                    .pass = shared(pass_time),
                    .sync = shared(sync),
                    .memory = shared(memory),
                    .activations = shared(activations)};
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
      .def("set_listed", &set_listed, py::kw_only(), py::arg("begin"), py::arg("devices"), py::arg("column"),
           py::arg("replicas"), py::arg("time"), py::arg("pass_time"), py::arg("sync"), py::arg("memory"),
           py::arg("activations"));
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
