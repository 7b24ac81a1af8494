// Many set-ups in one call.
#include "solve_many.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"

namespace stageplan {
namespace {

constexpr std::pair<const char*, std::vector<double> ProblemData::*> kArrays[] = {
    {"price", &ProblemData::price},
    {"limit", &ProblemData::limit},
    {"capacity", &ProblemData::capacity},
};

constexpr std::pair<const char*, double ProblemData::*> kNumbers[] = {
    {"min_throughput", &ProblemData::min_throughput},
    {"max_duration", &ProblemData::max_duration},
    {"max_cost", &ProblemData::max_cost},
    {"max_price", &ProblemData::max_price},
    {"examples", &ProblemData::examples},
    {"fixed_price", &ProblemData::fixed_price},
};

// The rows of `changes` that are of one of the `fields`.
template <class Row, class Fields>
void take(std::vector<Row>& rows, const py::dict& changes, const Fields& fields, size_t size) {
  for (const auto& [name, field] : fields) {
    if (!changes.contains(name)) continue;
    const auto array = changes[name].template cast<py::array_t<double, py::array::c_style>>();
    check_size(name, array, size);
    rows.push_back(Row{field, array.data()});  // `changes` keeps the array
  }
}

template <class Number>
Number* outcome(const py::dict& outcomes, const char* name, size_t size) {
  auto array = outcomes[name].cast<py::array_t<Number, py::array::c_style>>();
  check_size(name, array, size);
  return array.mutable_data();
}

// `problems`: one, or one per set-up.
void solve_many_rows(std::vector<const Problem*> problems, const py::dict& changes, size_t count, bool exact,
                     int population, std::uint64_t seed, std::uint64_t work, int stagnation, int threads,
                     const py::dict& outcomes) {
  SetUps set_ups;
  if (problems.size() != count) problems.assign(count, problems.at(0));
  size_t types = 0, layers = 0;
  for (const Problem* problem : problems) {
    types += problem->types;
    layers = std::max<size_t>(layers, problem->layers);
  }
  take(set_ups.arrays, changes, kArrays, types);
  take(set_ups.numbers, changes, kNumbers, count);
  const Outcomes rows = {
      outcome<double>(outcomes, "cost", count),
      outcome<double>(outcomes, "time", count),
      outcome<double>(outcomes, "price", count),
      outcome<double>(outcomes, "violation", count),
      outcome<double>(outcomes, "bound", count),
      outcome<std::int32_t>(outcomes, "stages", count),
      outcome<std::int64_t>(outcomes, "devices", count),
      outcome<std::uint64_t>(outcomes, "evaluations", count),
      outcome<std::uint64_t>(outcomes, "generations", count),
      outcome<std::uint64_t>(outcomes, "work", count),
      outcome<std::int8_t>(outcomes, "schemes", count * layers),
      layers,
      outcome<std::uint8_t>(outcomes, "solved", count),
  };
  run_interruptibly(
      [&] { solve_many(problems, set_ups, {exact, population, seed, work, stagnation}, threads, rows); });
}

}  // namespace

void bind_solve_many(py::module_& m) {
  m.def("solve_many", &solve_many_rows, py::arg("problems"), py::arg("changes"), py::arg("count"),
        py::arg("exact"), py::arg("population"), py::arg("seed"), py::arg("work"), py::arg("stagnation"),
        py::arg("threads"), py::arg("outcomes"));
}

}  // namespace stageplan
