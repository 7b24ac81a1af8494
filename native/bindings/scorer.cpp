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
#include "model/stage_report.h"

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
              std::optional<py::array_t<double>>& price, std::optional<py::array_t<double>>& plan_cost,
              int threads) {
  const size_t layers = scorer.problem().layers, count = static_cast<size_t>(schemes.size()) / layers;
  const std::int8_t* genes = schemes.data();
  const ScoreArrays all{cost.mutable_data(), throughput.mutable_data(), violation.mutable_data(),
                        price ? price->mutable_data() : nullptr,
                        plan_cost ? plan_cost->mutable_data() : nullptr};
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

constexpr std::pair<const char*, std::int32_t StageRecord::*> kCounts[] = {
    {"type", &StageRecord::type},           {"column", &StageRecord::column},
    {"devices", &StageRecord::devices},     {"replicas", &StageRecord::replicas},
    {"in_flight", &StageRecord::in_flight},
};
constexpr std::pair<const char*, double StageRecord::*> kAmounts[] = {
    {"time", &StageRecord::time}, {"compute", &StageRecord::compute}, {"transfer", &StageRecord::transfer},
    {"sync", &StageRecord::sync}, {"memory", &StageRecord::memory},
};

std::pair<std::vector<StageReport>, Score> provision(const Scorer& scorer, const GeneArray& scheme) {
  const Problem& problem = scorer.problem();
  check_genes(problem, "scheme", scheme.data(), scheme.size());
  const std::int8_t* genes = scheme.data();
  return run_interruptibly([&] {
    std::vector<Stage> stages;
    Provisioner provisioner(problem);
    merge(problem, scorer.loads(), genes, stages);
    const Score score = provisioner.best(stages);
    return std::pair(report_stages(problem, stages, provisioner, genes), score);
  });
}

std::pair<Score, double> score_plan(const Scorer& scorer, const GeneArray& scheme) {
  check_genes(scorer.problem(), "scheme", scheme.data(), scheme.size());
  return run_interruptibly([&, genes = scheme.data()] { return scorer.score_plan(genes); });
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

  py::class_<StageReport> stage(m, "Stage");
  stage.def_readonly("label", &StageReport::label)
      .def_readonly("layers", &StageReport::layers)
      .def_readonly("pass_time", &StageReport::pass);
  for (const auto& [name, member] : kCounts)
    stage.def_property_readonly(name, [member](const StageReport& self) { return self.record.*member; });
  for (const auto& [name, member] : kAmounts)
    stage.def_property_readonly(name, [member](const StageReport& self) { return self.record.*member; });

  py::class_<Scorer>(m, "Scorer")
      .def(py::init(&make_scorer), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("target"))
      .def("evaluate", &evaluate, py::arg("schemes").noconvert(), py::arg("cost").noconvert(),
           py::arg("throughput").noconvert(), py::arg("violation").noconvert(), py::arg("price").noconvert(),
           py::arg("plan_cost").noconvert(), py::arg("threads"))
      .def("provision", &provision, py::arg("scheme").noconvert())
      .def("score_plan", &score_plan, py::arg("scheme").noconvert());
}

}  // namespace stageplan
