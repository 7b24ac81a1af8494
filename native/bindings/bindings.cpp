// The only file that knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "auto.h"
#include "common/elementary.h"
#include "common/threads.h"
#include "exact/exact.h"
#include "exact/fixed_target.h"
#include "exact/front.h"
#include "genetic/genetic.h"
#include "kernels/instruction_set.h"
#include "kernels/scorer.h"
#include "model/order_splits.h"
#include "model/placement_bound.h"
#include "placement/annealing.h"
#include "policy/policy.h"
#include "policy/reinforce.h"
#include "search/search.h"

namespace py = pybind11;

namespace stageplan {
namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using GeneArray = py::array_t<std::int8_t, py::array::c_style>;

std::vector<double> to_vector(const Doubles& array) { return {array.data(), array.data() + array.size()}; }

using TensorTuple = std::tuple<int, std::vector<int>, double>;

std::vector<Tensor> make_tensors(const std::vector<TensorTuple>& tuples) {
  std::vector<Tensor> tensors;
  for (const auto& [producer, consumers, bytes] : tuples) tensors.push_back({producer, consumers, bytes});
  return tensors;
}

Problem make_problem(int layers, int types, const Doubles& compute, const Doubles& send, const Doubles& receive,
                     const Doubles& compute_parallel, const Doubles& transfer_parallel, const Doubles& memory,
                     const Doubles& price, const Doubles& limit, const Doubles& capacity,
                     const Doubles& bandwidth, std::vector<int> kinds, const std::vector<TensorTuple>& tensors,
                     double fixed_price, double examples, double min_throughput, double max_duration,
                     double max_cost, double max_price, bool fastest, bool by_type, bool overlap, bool split,
                     int max_devices_per_stage) {
  ProblemData data;
  data.layers = layers;
  data.types = types;
  data.compute = to_vector(compute);
  data.send = to_vector(send);
  data.receive = to_vector(receive);
  data.compute_parallel = to_vector(compute_parallel);
  data.transfer_parallel = to_vector(transfer_parallel);
  data.memory = to_vector(memory);
  data.price = to_vector(price);
  data.limit = to_vector(limit);
  data.capacity = to_vector(capacity);
  data.bandwidth = to_vector(bandwidth);
  data.kinds = std::move(kinds);
  data.tensors = make_tensors(tensors);
  data.fixed_price = fixed_price;
  data.examples = examples;
  data.min_throughput = min_throughput;
  data.max_duration = max_duration;
  data.max_cost = max_cost;
  data.max_price = max_price;
  data.objective = fastest ? Objective::throughput : Objective::cost;
  data.merge = by_type ? Merge::type : Merge::adjacent;
  data.overlap = overlap;
  data.split = split;
  data.max_devices_per_stage = max_devices_per_stage;
  return Problem(std::move(data));
}

// Throws where one of `count` genes, which follow after `before` others, is no label.
void check_genes(const Problem& problem, const char* name, const std::int8_t* genes, size_t count,
                 size_t before = 0) {
  const size_t bad = first_bad_gene(genes, count, problem.labels());
  if (bad == count) return;
  const size_t position = before + bad, layers = problem.layers;
  throw std::invalid_argument(std::string(name) + "[" + std::to_string(position / layers) + ", " +
                              std::to_string(position % layers) + "] is " + std::to_string(genes[bad]) +
                              "; it must be a label from 0 to " + std::to_string(problem.labels() - 1));
}

std::unique_ptr<Scorer> make_scorer(const Problem& problem, std::optional<double> target) {
  return target ? std::make_unique<Scorer>(problem, 1 / *target) : std::make_unique<Scorer>(problem);
}

// Scores in blocks that stay in cache; nothing but the results grows with the population.
void evaluate(const Scorer& scorer, const GeneArray& schemes, py::array_t<double>& cost,
              py::array_t<double>& throughput, py::array_t<double>& violation, int threads) {
  const size_t layers = scorer.problem().layers, count = static_cast<size_t>(schemes.size()) / layers;
  const std::int8_t* genes = schemes.data();
  const ScoreArrays all{cost.mutable_data(), throughput.mutable_data(), violation.mutable_data()};
  py::gil_scoped_release release;
  constexpr size_t block = 4096;
  std::atomic<size_t> first_bad{count};  // block; blocks are begun in order, so that those before it end
  parallel_for((count + block - 1) / block, threads, [&](size_t b) {
    if (b > first_bad) return;
    const size_t from = b * block, size = std::min(block, count - from);
    const ScoreArrays scores = all.from(from);
    if (!scorer.score(genes + from * layers, size, scores)) {
      for (size_t known = first_bad; b < known && !first_bad.compare_exchange_weak(known, b);) {
      }
      return;
    }
    for (size_t i = 0; i < size; ++i) scores.time[i] = 1 / scores.time[i];
  });
  if (first_bad == count) return;
  const size_t from = first_bad * block, size = std::min(block, count - from);
  check_genes(scorer.problem(), "schemes", genes + from * layers, size * layers, from * layers);
}

// Children `first` and following of a generation, for tests and measurements; `generation` numbers the stream.
py::array_t<std::int8_t> breed(const GeneArray& parents, const Doubles& fitness, int labels,
                               std::uint64_t generation, size_t first, size_t count) {
  const py::ssize_t layers = parents.shape(1);
  py::array_t<std::int8_t> children({static_cast<py::ssize_t>(count), layers});
  instruction_set().breed(
      {parents.data(), fitness.data(), static_cast<size_t>(parents.shape(0)), static_cast<int>(layers), labels},
      Rng(0, 0, generation), first, count, children.mutable_data());
  return children;
}

struct StageReport {
  int label, type, devices;
  std::vector<int> layers;
  double time, compute, transfer, memory;
};

std::vector<int> layers_of(const Problem& problem, const Stage& stage, const std::int8_t* scheme) {
  std::vector<int> layers;
  for (int l = stage.first; l <= stage.last; ++l)
    if (problem.merge == Merge::adjacent || scheme[l] == stage.label) layers.push_back(l);
  return layers;
}

std::pair<std::vector<StageReport>, Score> provision(const Scorer& scorer, const GeneArray& scheme) {
  const Problem& problem = scorer.problem();
  check_genes(problem, "scheme", scheme.data(), scheme.size());
  std::vector<Stage> stages;
  merge(problem, scorer.loads(), scheme.data(), stages);
  Provisioner provisioner(problem);
  const Score score = provisioner.best(stages);
  std::vector<StageReport> reports;
  for (size_t s = 0; s < stages.size(); ++s) {
    const StageLoad& load = stages[s].load;
    const int devices = provisioner.devices()[s];
    reports.push_back({stages[s].label, stages[s].type, devices, layers_of(problem, stages[s], scheme.data()),
                       stage_time(problem, load, devices), load.compute_time(devices),
                       load.transfer_time(devices), load.memory});
  }
  return {reports, score};
}

Genes genes_of(const Problem& problem, const GeneArray& schemes) {
  check_genes(problem, "initial", schemes.data(), schemes.size());
  return {schemes.data(), schemes.data() + schemes.size()};
}

py::array_t<std::int8_t> to_array(const Genes& genes) {
  return py::array_t<std::int8_t>(static_cast<py::ssize_t>(genes.size()), genes.data());
}

OrderSplits make_splits(const std::vector<TensorTuple>& tensors,
                        const std::vector<std::tuple<std::int64_t, std::vector<double>, bool>>& kinds) {
  std::vector<DeviceKind> made;
  for (const auto& [number, work, transfers] : kinds) made.push_back({number, work, transfers});
  return {make_tensors(tensors), std::move(made)};
}

// Of each kind, shape (cuts, cuts).
std::vector<Doubles> loads_of(OrderSplits& splits, const std::vector<int>& order) {
  std::vector<Doubles> tables;
  for (const std::vector<double>& loads : splits.loads(order)) {
    const auto cuts = static_cast<py::ssize_t>(std::sqrt(loads.size()));
    tables.emplace_back(std::vector<py::ssize_t>{cuts, cuts}, loads.data());
  }
  return tables;
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

// The network of a policy, for tests and measurements and for other implementations to compare with.

template <class Real>
using Reals = py::array_t<Real, py::array::c_style>;

PolicyShape make_shape(const std::string& cell, int shared, int own, int labels, int hidden) {
  if (cell != "lstm" && cell != "rnn")
    throw std::invalid_argument("cell is '" + cell + "'; it must be 'lstm' or 'rnn'");
  return {cell == "lstm" ? Cell::lstm : Cell::rnn, shared, own, labels, hidden};
}

std::vector<std::tuple<std::string, size_t, int, int>> parts_of(const PolicyShape& shape) {
  std::vector<std::tuple<std::string, size_t, int, int>> parts;
  for (const auto& [name, first, rows, columns] : shape.parts()) parts.emplace_back(name, first, rows, columns);
  return parts;
}

template <class Array>
void check_size(const char* name, const Array& array, size_t size) {
  if (static_cast<size_t>(array.size()) == size) return;
  throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.size()) +
                              " numbers; it must have " + std::to_string(size));
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

  // All steps, each choice drawn by one of the uniform numbers (steps, episodes): choices and probabilities.
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

// The search that learns, and what it sees.

using Floats = Reals<float>;

Floats to_floats(const std::vector<float>& values) {
  return Floats(static_cast<py::ssize_t>(values.size()), values.data());
}

// The numbers that all episodes see: (layers, numbers).
Floats layer_features(const Features& features) {
  const int layers = features.problem().layers;
  return Floats({layers, features.shared()}, features.layer(0));
}

// What an episode sees that has chosen these labels, and the prior logits of the next one's.
std::pair<Floats, Floats> look(const Features& features, const GeneArray& labels) {
  const int next = static_cast<int>(labels.size());
  check_genes(features.problem(), "labels", labels.data(), labels.size());
  if (next >= features.problem().layers)
    throw std::invalid_argument("labels has one for every layer; none is left to look at");
  Trail trail = features.start();
  for (int l = 0; l < next; ++l) features.choose(trail, l, labels.data()[l]);
  Floats own(features.own()), prior(features.problem().labels());
  features.look(trail, next, own.mutable_data(), prior.mutable_data());
  return {own, prior};
}

double reward(const Features& features, double cost, double time, double violation) {
  return features.reward({cost, time, violation});
}

void load_learned(Learned& learned, const Floats& weights, const Floats& first, const Floats& second,
                  std::int64_t steps, double baseline, std::uint64_t generations) {
  const size_t size = learned.weights.size();
  check_size("weights", weights, size);
  check_size("first", first, size);
  check_size("second", second, size);
  learned.weights.assign(weights.data(), weights.data() + size);
  learned.adam.first.assign(first.data(), first.data() + size);
  learned.adam.second.assign(second.data(), second.data() + size);
  learned.adam.steps = steps;
  learned.baseline = baseline;
  learned.generations = generations;
}

py::array_t<std::int8_t> elite_schemes(const Reinforce& search) {
  Genes genes;
  for (const Elites::Elite& elite : search.elites().all())
    genes.insert(genes.end(), elite.scheme.begin(), elite.scheme.end());
  return to_array(genes);
}

}  // namespace
}  // namespace stageplan

PYBIND11_MODULE(_core, m) {
  using namespace stageplan;
  m.doc() = "Native core of stageplan.";
  m.def("instruction_set", [] { return instruction_set().name; });
  m.def("instruction_sets", &instruction_sets);
  m.def("breed", &breed, py::arg("parents").noconvert(), py::arg("fitness"), py::arg("labels"),
        py::arg("generation"), py::arg("first"), py::arg("count"));
  m.attr("TOLERANCE") = kTolerance;
  m.attr("MAX_DEVICES") = kMaxDevices;

  py::class_<Problem>(m, "Problem")
      .def(py::init(&make_problem), py::kw_only(), py::arg("layers"), py::arg("types"), py::arg("compute"),
           py::arg("send"), py::arg("receive"), py::arg("compute_parallel"), py::arg("transfer_parallel"),
           py::arg("memory"), py::arg("price"), py::arg("limit"), py::arg("capacity"), py::arg("bandwidth"),
           py::arg("kinds"), py::arg("tensors"), py::arg("fixed_price"), py::arg("examples"),
           py::arg("min_throughput"), py::arg("max_duration"), py::arg("max_cost"), py::arg("max_price"),
           py::arg("fastest"), py::arg("by_type"), py::arg("overlap"), py::arg("split"),
           py::arg("max_devices_per_stage"))
      .def_property_readonly("label_types", &Problem::label_types);

  py::class_<Score>(m, "Score")
      .def_readonly("cost", &Score::cost)
      .def_readonly("time", &Score::time)
      .def_readonly("violation", &Score::violation);

  py::class_<StageReport>(m, "Stage")
      .def_readonly("label", &StageReport::label)
      .def_readonly("type", &StageReport::type)
      .def_readonly("devices", &StageReport::devices)
      .def_readonly("layers", &StageReport::layers)
      .def_readonly("time", &StageReport::time)
      .def_readonly("compute", &StageReport::compute)
      .def_readonly("transfer", &StageReport::transfer)
      .def_readonly("memory", &StageReport::memory);

  py::class_<Scorer>(m, "Scorer")
      .def(py::init(&make_scorer), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("target"))
      .def("evaluate", &evaluate, py::arg("schemes").noconvert(), py::arg("cost").noconvert(),
           py::arg("throughput").noconvert(), py::arg("violation").noconvert(), py::arg("threads"))
      .def("provision", &provision, py::arg("scheme").noconvert())
      .def(
          "cheapest_at",
          [](const Scorer& scorer, double time, std::size_t width) {
            Cheapest found;
            {
              const py::gil_scoped_release release;
              found = cheapest_at(scorer.problem(), scorer.loads(), time, width);
            }
            return py::make_tuple(found.price, found.bound, to_array(found.scheme));
          },
          py::arg("time"), py::arg("width") = 1 << 14);

  py::class_<OrderSplits>(m, "OrderSplits")
      .def(py::init(&make_splits), py::arg("tensors"), py::arg("kinds"))
      .def("score", &OrderSplits::score, py::arg("order"))
      .def("loads", &loads_of, py::arg("order"))
      .def_readonly_static("MOST_CUTS", &OrderSplits::kMostCuts);
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
      [](const Problem& problem) {
        const LeastScore least = placement_bound(problem);
        return std::pair(least.cost, least.time);
      },
      py::arg("problem"));

  m.def("relabel_contiguous", &relabel, py::arg("contiguous"), py::arg("scheme").noconvert(),
        py::arg("by_type"));

  py::class_<PolicyShape>(m, "PolicyShape")
      .def(py::init(&make_shape), py::arg("cell"), py::arg("shared"), py::arg("own"), py::arg("labels"),
           py::arg("hidden"))
      .def_property_readonly("parts", &parts_of)
      .def_property_readonly("weights", &PolicyShape::weights);
  PolicyBinding<float>::bind(m, "Rollout", "Adam");
  PolicyBinding<double>::bind(m, "Rollout64", "Adam64");

  const auto released = py::call_guard<py::gil_scoped_release>();
  py::class_<Search>(m, "Search")
      .def("step", py::overload_cast<>(&Search::step), released)
      .def_property_readonly("best", [](const Search& s) { return to_array(s.best()); })
      .def_property_readonly("best_score", &Search::best_score)
      .def_property_readonly("bound", &Search::bound)
      .def_property_readonly("evaluations", &Search::evaluations)
      .def_property_readonly("done", &Search::done);
  py::class_<RandomSearch, Search>(m, "RandomSearch")
      .def(py::init<const Problem&, std::uint64_t, int>(), py::keep_alive<1, 2>(), py::arg("problem"),
           py::arg("seed"), py::arg("threads"));
  py::class_<Enumeration, Search>(m, "Enumeration")
      .def(py::init<const Problem&, int>(), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("threads"));
  py::class_<GreedySearch, Search>(m, "GreedySearch")
      .def(py::init<const Problem&>(), py::keep_alive<1, 2>(), py::arg("problem"));
  py::class_<Annealing, Search>(m, "Annealing")
      .def(py::init([](const Problem& problem, int population, std::uint64_t seed, int threads,
                       const GeneArray& initial) {
             const Genes genes = genes_of(problem, initial);
             const py::gil_scoped_release release;
             return std::make_unique<Annealing>(problem, population, seed, threads, genes);
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("population"), py::arg("seed"),
           py::arg("threads"), py::arg("initial").noconvert());
  py::class_<Exact, Search>(m, "Exact")
      .def(py::init([](const Problem& problem, const GeneArray& initial) {
             return std::make_unique<Exact>(problem, genes_of(problem, initial));
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("initial").noconvert())
      .def("advance", &Exact::advance, py::arg("work"), released)
      .def_property_readonly("work", &Exact::work)
      .def_property_readonly("tried", [](const Exact& e) { return to_array(e.tried()); });
  py::class_<FrontPoint>(m, "FrontPoint")
      .def_readonly("target", &FrontPoint::target)
      .def_readonly("time", &FrontPoint::time)
      .def_readonly("value", &FrontPoint::value)
      .def_readonly("bound", &FrontPoint::bound)
      .def_property_readonly("scheme", [](const FrontPoint& p) { return to_array(p.scheme); });
  py::class_<Front, Exact>(m, "Front")
      .def(py::init([](const Problem& problem, bool by_price, std::vector<double> targets,
                       std::optional<double> gap, double fastest, const GeneArray& initial) {
             return std::make_unique<Front>(problem, by_price, std::move(targets), gap, fastest,
                                            genes_of(problem, initial));
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("by_price"), py::arg("targets"), py::arg("gap"),
           py::arg("fastest"), py::arg("initial").noconvert())
      .def_property_readonly("points", &Front::points);
  py::class_<Auto, Search>(m, "Auto").def(
      py::init([](const Problem& problem, int population, std::uint64_t seed, int threads,
                  const GeneArray& initial) {
        return std::make_unique<Auto>(problem, population, seed, threads, genes_of(problem, initial));
      }),
      py::keep_alive<1, 2>(), py::arg("problem"), py::arg("population"), py::arg("seed"), py::arg("threads"),
      py::arg("initial").noconvert());
  py::class_<Features>(m, "Features")
      .def(py::init<const Problem&>(), py::keep_alive<1, 2>(), py::arg("problem"))
      .def_readonly_static("MOST", &Features::kMost)
      .def_property_readonly("layers", &layer_features)
      .def("look", &look, py::arg("labels").noconvert())
      .def("reward", &reward, py::arg("cost"), py::arg("time"), py::arg("violation"))
      .def(
          "decode",
          [](const Features& f, const Learned& learned) {
            return to_array(decode(f, learned.shape, learned.weights.data()));
          },
          py::arg("learned"));
  py::class_<Learned>(m, "Learned")
      .def(py::init([](bool rnn, int types, int labels, std::uint64_t seed) {
             return std::make_unique<Learned>(rnn ? Cell::rnn : Cell::lstm, types, labels, seed);
           }),
           py::arg("rnn"), py::arg("types"), py::arg("labels"), py::arg("seed"))
      .def("load", &load_learned, py::arg("weights"), py::arg("first"), py::arg("second"), py::arg("steps"),
           py::arg("baseline"), py::arg("generations"))
      .def_property_readonly("weights", [](const Learned& l) { return to_floats(l.weights); })
      .def_property_readonly("first", [](const Learned& l) { return to_floats(l.adam.first); })
      .def_property_readonly("second", [](const Learned& l) { return to_floats(l.adam.second); })
      .def_property_readonly("steps", [](const Learned& l) { return l.adam.steps; })
      .def("turn_to_another", &Learned::turn_to_another)
      .def_property_readonly("rnn", [](const Learned& l) { return l.shape.cell == Cell::rnn; })
      .def_readonly("baseline", &Learned::baseline)
      .def_readonly("generations", &Learned::generations);
  py::class_<Reinforce, Search>(m, "Reinforce")
      .def(py::init([](const Problem& problem, const Learned& learned, int population, std::uint64_t seed,
                       int threads, const GeneArray& initial, bool alone) {
             const Genes genes = genes_of(problem, initial);
             const py::gil_scoped_release release;
             return std::make_unique<Reinforce>(problem, learned, population, seed, threads, genes, alone);
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("learned"), py::arg("population"),
           py::arg("seed"), py::arg("threads"), py::arg("initial").noconvert(), py::arg("alone") = false)
      .def_property_readonly("learned", [](const Reinforce& r) { return r.learned(); })
      .def_property_readonly("elites", [](const Reinforce& r) { return elite_schemes(r); });
  py::class_<Genetic, Search>(m, "Genetic")
      .def(py::init([](const Problem& problem, int population, std::uint64_t seed, int threads,
                       const GeneArray& initial) {
             const Genes genes = genes_of(problem, initial);
             const py::gil_scoped_release release;
             return std::make_unique<Genetic>(problem, population, seed, threads, genes);
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("population"), py::arg("seed"),
           py::arg("threads"), py::arg("initial").noconvert())
      .def("step", py::overload_cast<int>(&Genetic::step), py::arg("generations") = 1, released);
}
