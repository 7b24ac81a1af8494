// Parts of the core that only tests and benchmarks call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"
#include "capi.h"
#include "common/elementary.h"
#include "exact/fixed_target.h"
#include "kernels/instruction_set.h"
#include "kernels/scorer.h"
#include "model/options.h"
#include "model/placement_bound.h"
#include "placement/annealing.h"
#include "policy/policy.h"
#include "solve.h"

namespace stageplan {
namespace {

// Children from `first` on of a generation; `generation` selects the random stream.
py::array_t<std::int8_t> breed(const GeneArray& parents, const Doubles& fitness, int labels,
                               std::uint64_t generation, size_t first, size_t count) {
  const py::ssize_t layers = parents.shape(1);
  py::array_t<std::int8_t> children({static_cast<py::ssize_t>(count), layers});
  instruction_set().breed(
      {parents.data(), fitness.data(), static_cast<size_t>(parents.shape(0)), static_cast<int>(layers), labels},
      Rng(0, 0, generation), first, count, children.mutable_data());
  return children;
}

py::array_t<std::int8_t> relabel(const Problem& contiguous, const GeneArray& scheme, const Problem& by_type) {
  check_genes(contiguous, "scheme", scheme.data(), scheme.size());
  return to_array(relabel_contiguous(contiguous, scheme.data(), by_type));
}

Placement place(const Problem& problem, const GeneArray& scheme) {
  check_genes(problem, "scheme", scheme.data(), scheme.size());
  Placement placement(problem);
  placement.load(scheme.data());
  return placement;
}

// (serial and parallel seconds of compute, of transfer, bytes, layers that cannot run) of a label.
std::tuple<double, double, double, double, double, int> load_of(const Placement& placement, int label) {
  const StageLoad& load = placement.load_of(label);
  return {load.serial_compute,    load.parallel_compute, load.serial_transfer,
          load.parallel_transfer, load.memory,           load.unsupported};
}

// (devices, column, replicas, time, pass, sync, memory, flight, violation) of each option of a stage.
using OptionTuple = std::tuple<int, int, int, double, double, double, double, double, double>;

std::vector<OptionTuple> stage_options(const Problem& problem, int first, int last, int type, int in_flight) {
  if (!problem.by_options()) throw std::invalid_argument("the problem has no options");
  std::vector<Option> options;
  Options(problem).list(first, last, type, in_flight, options);
  std::vector<OptionTuple> rows;
  for (const Option& o : options)
    rows.emplace_back(o.devices, o.column, o.replicas, o.time, o.pass, o.sync, o.memory, o.flight, o.violation);
  return rows;
}

// One scheme, scored again and again: its cost.
double score_repeatedly(const Scorer& scorer, const GeneArray& scheme, int repeats) {
  double cost = 0;
  for (int i = 0; i < repeats; ++i) cost = scorer.score(scheme.data()).cost;
  return cost;
}

// The same as a compiled caller does it, by the address of a scorer's handle.
double score_repeatedly_by_capi(std::uintptr_t handle, const GeneArray& scheme, int repeats) {
  const auto* scorer = reinterpret_cast<const stageplan_scorer*>(handle);
  const auto layers = static_cast<std::int32_t>(scheme.size());
  double cost = 0, time = 0, violation = 0;
  for (int i = 0; i < repeats; ++i)
    kApi.score(scorer, scheme.data(), 1, layers, &cost, &time, &violation, nullptr, nullptr);
  return cost;
}

// A problem made, solved exactly and its plan provisioned, again and again: the cost of this plan.
double solve_repeatedly(const Problem& problem, int repeats) {
  double cost = 0;
  std::vector<Stage> stages;
  for (int i = 0; i < repeats; ++i) {
    const Problem made(problem.data());
    const auto loads = std::make_shared<const StageLoads>(made);
    const Solved solved =
        solve(made, {.work = std::numeric_limits<std::uint64_t>::max()}, {.loads = loads, .matrix = nullptr});
    merge(made, *loads, solved.search->best().data(), stages);
    cost = Provisioner(made).best(stages).cost;
  }
  return cost;
}

// The same by the C API, from the arrays of a problem without tensors and workspace.
double solve_repeatedly_by_capi(const Problem& problem, int repeats) {
  const ProblemData& data = problem.data();
  stageplan_arrays arrays;
  stageplan_goal goal;
  stageplan_search search;
  kApi.arrays_init(&arrays);
  kApi.goal_init(&goal);
  kApi.search_init(&search);
  arrays.layers = data.layers;
  arrays.types = data.types;
  arrays.compute = data.compute.data();
  arrays.send = data.send.data();
  arrays.receive = data.receive.data();
  arrays.compute_parallel = data.compute_parallel.data();
  arrays.transfer_parallel = data.transfer_parallel.data();
  arrays.memory = data.memory.data();
  arrays.price = data.price.data();
  arrays.limit = data.limit.data();
  arrays.capacity = data.capacity.data();
  arrays.bandwidth = data.bandwidth.data();
  arrays.fixed_price = data.fixed_price;
  goal.examples = data.examples;
  goal.min_throughput = data.min_throughput;
  search.method = STAGEPLAN_EXACT;
  stageplan_result result{};
  Genes scheme(data.layers);
  std::vector<stageplan_stage> stages(data.layers);
  for (int i = 0; i < repeats; ++i) {
    stageplan_problem* handle = nullptr;
    kApi.problem_new(&arrays, &goal, &handle, nullptr);
    kApi.solve(handle, &search, data.layers, &result, scheme.data(), stages.data(), nullptr);
    kApi.problem_free(handle, nullptr);
  }
  return result.plan.cost;
}

template <class Real>
Reals<Real> elementary(const std::string& name, const Reals<Real>& values) {
  Reals<Real> results(std::vector<py::ssize_t>(values.shape(), values.shape() + values.ndim()));
  const auto apply = [&](auto function) {
    std::transform(values.data(), values.data() + values.size(), results.mutable_data(), function);
  };
  if (name == "exp")
    apply(portable::exp<Real>);
  else if (name == "log")
    apply(portable::log<Real>);
  else if (name == "tanh")
    apply(portable::tanh<Real>);
  else if (name == "logistic")
    apply(portable::logistic<Real>);
  else
    throw std::invalid_argument("name is '" + name + "'; it must be 'exp', 'log', 'tanh' or 'logistic'");
  return results;
}

template <class Real>
struct PolicyBinding {
  using IntArray = py::array_t<int, py::array::c_style>;

  PolicyShape shape;
  py::ssize_t episodes, steps;
  Rollout<Real> rollout;

  PolicyBinding(const PolicyShape& shape, int episodes, int steps)
      : shape(shape), episodes(episodes), steps(steps), rollout(shape, episodes, steps) {}

  void check_steps(py::ssize_t more) const {
    if (rollout.steps_done() + more > steps)
      throw std::invalid_argument("there are " + std::to_string(steps) + " steps; begin anew");
  }

  void begin(const Reals<Real>& weights) {
    check_size("weights", weights, shape.weights());
    rollout.begin(weights.data());
  }

  Reals<Real> step(const Reals<Real>& shared, const Reals<Real>& own, const IntArray& previous) {
    check_size("shared", shared, shape.shared);
    check_size("own", own, episodes * shape.own);
    check_size("previous", previous, episodes);
    check_steps(1);
    const Real* logits = rollout.step(shared.data(), own.data(), previous.data());
    return Reals<Real>({episodes, py::ssize_t{shape.labels}}, logits);
  }

  // All steps, each choice sampled by one of the uniform numbers (steps, episodes): choices, probabilities.
  std::pair<IntArray, Reals<Real>> sample(const Reals<Real>& shared, const Reals<Real>& own,
                                          const Doubles& uniform) {
    check_size("shared", shared, steps * shape.shared);
    check_size("own", own, steps * episodes * shape.own);
    check_size("uniform", uniform, steps * episodes);
    check_steps(steps);
    IntArray choices({steps, episodes});
    Reals<Real> probabilities({steps, episodes, py::ssize_t{shape.labels}});
    const std::vector<int> none(episodes, -1);
    for (py::ssize_t s = 0; s < steps; ++s) {
      const Real* logits = rollout.step(shared.data() + s * shape.shared, own.data() + s * episodes * shape.own,
                                        s == 0 ? none.data() : choices.data(s - 1));
      Real* row = probabilities.mutable_data(s);
      std::copy_n(logits, episodes * shape.labels, row);
      softmax(row, shape.labels, static_cast<int>(episodes));
      for (py::ssize_t e = 0; e < episodes; ++e)
        *choices.mutable_data(s, e) = draw(row + e * shape.labels, shape.labels, *uniform.data(s, e));
    }
    return {choices, probabilities};
  }

  Reals<Real> backward(const Reals<Real>& dlogits) {
    check_size("dlogits", dlogits, rollout.steps_done() * episodes * shape.labels);
    Reals<Real> gradient(static_cast<py::ssize_t>(shape.weights()));
    std::fill_n(gradient.mutable_data(), gradient.size(), Real{0});
    rollout.backward(dlogits.data(), gradient.mutable_data());
    return gradient;
  }

  static void bind(py::module_& m, const char* rollout, const char* adam) {
    py::class_<PolicyBinding>(m, rollout)
        .def(py::init<const PolicyShape&, int, int>(), py::arg("shape"), py::arg("episodes"), py::arg("steps"))
        .def("begin", &PolicyBinding::begin, py::arg("weights").noconvert())
        .def("step", &PolicyBinding::step, py::arg("shared").noconvert(), py::arg("own").noconvert(),
             py::arg("previous"))
        .def("sample", &PolicyBinding::sample, py::arg("shared").noconvert(), py::arg("own").noconvert(),
             py::arg("uniform"))
        .def("backward", &PolicyBinding::backward, py::arg("dlogits").noconvert());
    py::class_<Adam<Real>>(m, adam)
        .def(py::init<size_t>(), py::arg("weights"))
        .def(
            "update",
            [](Adam<Real>& self, Reals<Real>& weights, const Reals<Real>& gradient, double rate, double clip) {
              check_size("weights", weights, self.first.size());
              check_size("gradient", gradient, self.first.size());
              return self.update(weights.mutable_data(), gradient.data(), rate, clip);
            },
            py::arg("weights").noconvert(), py::arg("gradient").noconvert(), py::arg("rate"), py::arg("clip"));
    m.def("elementary", &elementary<Real>, py::arg("name"), py::arg("values").noconvert());
  }
};

}  // namespace

void bind_testing(py::module_& m) {
  m.def("stage_options", &stage_options, py::arg("problem"), py::arg("first"), py::arg("last"), py::arg("type"),
        py::arg("in_flight"));
  m.def("breed", &breed, py::arg("parents").noconvert(), py::arg("fitness"), py::arg("labels"),
        py::arg("generation"), py::arg("first"), py::arg("count"));
  m.def("score_repeatedly", &score_repeatedly, py::arg("scorer"), py::arg("scheme").noconvert(),
        py::arg("repeats"));
  m.def("score_repeatedly_by_capi", &score_repeatedly_by_capi, py::arg("scorer"), py::arg("scheme").noconvert(),
        py::arg("repeats"));
  m.def("solve_repeatedly", &solve_repeatedly, py::arg("problem"), py::arg("repeats"));
  m.def("solve_repeatedly_by_capi", &solve_repeatedly_by_capi, py::arg("problem"), py::arg("repeats"));
  m.def(
      "cheapest_at",
      [](const Scorer& scorer, double time, std::size_t width) {
        const Cheapest found =
            run_interruptibly([&] { return cheapest_at(scorer.problem(), scorer.loads(), time, width); });
        return py::make_tuple(found.price, found.bound, to_array(found.scheme));
      },
      py::arg("scorer"), py::arg("time"), py::arg("width") = 1 << 14);

  py::class_<Placement>(m, "Placement")
      .def(py::init(&place), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("scheme").noconvert())
      .def("move", &Placement::move, py::arg("layer"), py::arg("label"))
      .def("keep", &Placement::keep)
      .def("undo", &Placement::undo)
      .def("load_of", &load_of, py::arg("label"))
      .def_property_readonly("scheme", [](const Placement& p) { return to_array(p.scheme()); });
  py::class_<Energy>(m, "Energy")
      .def(py::init<const Problem&>(), py::keep_alive<1, 2>(), py::arg("problem"))
      .def(
          "of", [](Energy& e, const Placement& p) { return e.of(p).score; }, py::arg("placement"))
      .def(
          "of_touched", [](Energy& e, const Placement& p) { return e.of_touched(p).score; },
          py::arg("placement"))
      .def("undo", &Energy::undo);

  m.def(
      "placement_bound",
      [](const Problem& problem) { return run_interruptibly([&] { return placement_bound(problem); }); },
      py::arg("problem"));

  m.def("relabel_contiguous", &relabel, py::arg("contiguous"), py::arg("scheme").noconvert(),
        py::arg("by_type"));
  PolicyBinding<float>::bind(m, "Rollout", "Adam");
  PolicyBinding<double>::bind(m, "Rollout64", "Adam64");
}

}  // namespace stageplan
