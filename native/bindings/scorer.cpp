// Scores, and the stages of a provisioned scheme.
#include "kernels/scorer.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"
#include "common/threads.h"
#include "kernels/instruction_set.h"
#include "model/merge.h"
#include "model/provision.h"

namespace stageplan {
namespace {

std::unique_ptr<Scorer> make_scorer(const Problem& problem, std::optional<double> target) {
  return run_interruptibly([&] {
    return target ? std::make_unique<Scorer>(problem, 1 / *target, Allowed::plan)
                  : std::make_unique<Scorer>(problem);
  });
}

// Scores in blocks that stay in the cache; only the results grow with the population.
void evaluate(const Scorer& scorer, const GeneArray& schemes, py::array_t<double>& cost,
              py::array_t<double>& throughput, py::array_t<double>& violation,
              std::optional<py::array_t<double>>& price, int threads) {
  const size_t layers = scorer.problem().layers, count = static_cast<size_t>(schemes.size()) / layers;
  const std::int8_t* genes = schemes.data();
  const ScoreArrays all{cost.mutable_data(), throughput.mutable_data(), violation.mutable_data(),
                        price ? price->mutable_data() : nullptr};
  constexpr size_t block = 4096;
  std::atomic<size_t> first_bad{count};  // block; blocks start in order, so that those before it finish
  const auto score_block = [&](size_t b) {
    check_stop();
    if (b > first_bad) return;
    const size_t from = b * block, size = std::min(block, count - from);
    const ScoreArrays scores = all.from(from);
    if (!scorer.score(genes + from * layers, size, scores)) {
      lower_to(first_bad, b);
      return;
    }
    for (size_t i = 0; i < size; ++i) scores.time[i] = 1 / scores.time[i];
  };
  run_interruptibly([&] { parallel_for((count + block - 1) / block, threads, score_block); });
  if (first_bad == count) return;
  const size_t from = first_bad * block, size = std::min(block, count - from);
  check_genes(scorer.problem(), "schemes", genes + from * layers, size * layers, from * layers);
}

struct StageReport {
  int label, type, devices;
  std::vector<int> layers;
  double time, compute, transfer, memory;
  int column = -1, replicas = 1, in_flight = 1;  // column: -1 if the type has no strategies, or none fits
  double sync = 0, pass = 0;
};

std::vector<int> layers_of(const Problem& problem, const Stage& stage, const std::int8_t* scheme) {
  std::vector<int> layers;
  for (int l = stage.first; l <= stage.last; ++l)
    if (problem.merge == Merge::adjacent || scheme[l] == stage.label) layers.push_back(l);
  return layers;
}

StageReport report(const Problem& problem, const Stage& stage, std::vector<int> layers, int devices) {
  const StageLoad& load = stage.load;
  return {stage.label,
          stage.type,
          devices,
          std::move(layers),
          stage_time(problem, load, devices),
          load.compute_time(devices),
          load.transfer_time(devices),
          load.memory};
}

StageReport report(const Problem& problem, const Stage& stage, std::vector<int> layers, const Option& option,
                   int in_flight) {
  const OptionParts parts = option.devices == 0
                                ? OptionParts()
                                : problem.option_lists().options().parts(stage.first, stage.last, option);
  return {stage.label,   stage.type,      option.devices, std::move(layers),
          option.time,   parts.compute,   parts.transfer, option.memory + in_flight * option.flight,
          option.column, option.replicas, in_flight,      parts.sync,
          option.pass};
}

std::pair<std::vector<StageReport>, Score> provision(const Scorer& scorer, const GeneArray& scheme) {
  const Problem& problem = scorer.problem();
  check_genes(problem, "scheme", scheme.data(), scheme.size());
  std::vector<Stage> stages;
  std::optional<Provisioner> provisioner;
  const std::int8_t* genes = scheme.data();
  const Score score = run_interruptibly([&] {
    provisioner.emplace(problem);
    merge(problem, scorer.loads(), genes, stages);
    return provisioner->best(stages);
  });
  std::vector<StageReport> reports;
  for (size_t s = 0; s < stages.size(); ++s) {
    std::vector<int> layers = layers_of(problem, stages[s], scheme.data());
    if (problem.by_options())
      reports.push_back(
          report(problem, stages[s], std::move(layers), provisioner->chosen()[s],
                 problem.option_lists().options().in_flight(static_cast<int>(stages.size() - s))));
    else
      reports.push_back(report(problem, stages[s], std::move(layers), provisioner->devices()[s]));
  }
  return {reports, score};
}

}  // namespace

void bind_scorer(py::module_& m) {
  m.def("instruction_set", [] { return instruction_set().name; });
  m.def("instruction_sets", &instruction_sets);

  py::class_<Score>(m, "Score")
      .def_readonly("cost", &Score::cost)
      .def_readonly("time", &Score::time)
      .def_readonly("violation", &Score::violation)
      .def_readonly("price", &Score::price);

  py::class_<StageReport>(m, "Stage")
      .def_readonly("label", &StageReport::label)
      .def_readonly("type", &StageReport::type)
      .def_readonly("devices", &StageReport::devices)
      .def_readonly("layers", &StageReport::layers)
      .def_readonly("time", &StageReport::time)
      .def_readonly("compute", &StageReport::compute)
      .def_readonly("transfer", &StageReport::transfer)
      .def_readonly("memory", &StageReport::memory)
      .def_readonly("column", &StageReport::column)
      .def_readonly("replicas", &StageReport::replicas)
      .def_readonly("in_flight", &StageReport::in_flight)
      .def_readonly("sync", &StageReport::sync)
      .def_readonly("pass_time", &StageReport::pass);

  py::class_<Scorer>(m, "Scorer")
      .def(py::init(&make_scorer), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("target"))
      .def("evaluate", &evaluate, py::arg("schemes").noconvert(), py::arg("cost").noconvert(),
           py::arg("throughput").noconvert(), py::arg("violation").noconvert(), py::arg("price").noconvert(),
           py::arg("threads"))
      .def("provision", &provision, py::arg("scheme").noconvert());
}

}  // namespace stageplan
