// The searches.
#include "search/search.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>

#include "auto.h"
#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"
#include "exact/exact.h"
#include "exact/front.h"
#include "exact/option_search.h"
#include "genetic/genetic.h"
#include "placement/annealing.h"

namespace stageplan {

namespace {

// Makes a search, which may score its first schemes.
template <class Kind, class... Arguments>
std::unique_ptr<Kind> make(Arguments&&... arguments) {
  return run_interruptibly([&] { return std::make_unique<Kind>(std::forward<Arguments>(arguments)...); });
}

// A population-based search from initial schemes.
template <class Kind>
std::unique_ptr<Kind> make_from(const Problem& problem, int population, std::uint64_t seed, int threads,
                                const GeneArray& initial) {
  return make<Kind>(problem, population, seed, threads, genes_of(problem, initial));
}

}  // namespace

void bind_searches(py::module_& m) {
  py::class_<Search>(m, "Search")
      .def("step", [](Search& s) { run_interruptibly([&] { s.step(); }); })
      .def("ensure_best", &Search::ensure_best)
      .def("state", [](Search& s) { return py::bytes(s.state()); })
      .def(
          "restore",
          [](Search& s, const py::bytes& state) {
            const std::string_view bytes = state;
            run_interruptibly([&] { s.restore(bytes); });
          },
          py::arg("state"))
      .def_property_readonly("work", &Search::work)
      .def_property_readonly("best", [](const Search& s) { return to_array(s.best()); })
      .def_property_readonly("best_score", &Search::best_score)
      .def_property_readonly("bound",
                             [](const Search& s) { return run_interruptibly([&] { return s.bound(); }); })
      .def_property_readonly("evaluations", &Search::evaluations)
      .def_property_readonly("done", &Search::done);
  py::class_<RandomSearch, Search>(m, "RandomSearch")
      .def(py::init(&make<RandomSearch, const Problem&, std::uint64_t, int>), py::keep_alive<1, 2>(),
           py::arg("problem"), py::arg("seed"), py::arg("threads"));
  py::class_<Enumeration, Search>(m, "Enumeration")
      .def(py::init(&make<Enumeration, const Problem&, int>), py::keep_alive<1, 2>(), py::arg("problem"),
           py::arg("threads"));
  py::class_<GreedySearch, Search>(m, "GreedySearch")
      .def(py::init(&make<GreedySearch, const Problem&>), py::keep_alive<1, 2>(), py::arg("problem"));
  py::class_<Annealing, Search>(m, "Annealing")
      .def(py::init(&make_from<Annealing>), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("population"),
           py::arg("seed"), py::arg("threads"), py::arg("initial").noconvert());
  py::class_<Exact, Search>(m, "Exact")
      .def_static("serves", &Exact::serves, py::arg("problem"))
      .def(py::init([](const Problem& problem, const GeneArray& initial) {
             return make<Exact>(problem, genes_of(problem, initial));
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("initial").noconvert())
      .def(
          "advance", [](Exact& e, std::uint64_t work) { run_interruptibly([&] { e.advance(work); }); },
          py::arg("work"))
      .def_property_readonly("tried", [](const Exact& e) { return to_array(e.tried()); });
  py::class_<OptionSearch, Search>(m, "OptionSearch")
      .def(py::init([](const Problem& problem, const GeneArray& initial) {
             return make<OptionSearch>(problem, genes_of(problem, initial));
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("initial").noconvert())
      .def(
          "advance", [](OptionSearch& s, std::uint64_t work) { run_interruptibly([&] { s.advance(work); }); },
          py::arg("work"))
      .def_property_readonly("tried", [](const OptionSearch& s) { return to_array(s.tried()); });
  py::class_<FrontPoint>(m, "FrontPoint")
      .def_readonly("target", &FrontPoint::target)
      .def_readonly("time", &FrontPoint::time)
      .def_readonly("value", &FrontPoint::value)
      .def_readonly("bound", &FrontPoint::bound)
      .def_property_readonly("scheme", [](const FrontPoint& p) { return to_array(p.scheme); });
  py::class_<Front, Exact>(m, "Front")
      .def(py::init([](const Problem& problem, std::vector<double> targets, std::optional<double> gap,
                       double fastest, const GeneArray& initial) {
             return make<Front>(problem, std::move(targets), gap, fastest, genes_of(problem, initial));
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("targets"), py::arg("gap"), py::arg("fastest"),
           py::arg("initial").noconvert())
      .def_property_readonly("points", &Front::points);
  py::class_<Auto, Search>(m, "Auto").def(py::init(&make_from<Auto>), py::keep_alive<1, 2>(),
                                          py::arg("problem"), py::arg("population"), py::arg("seed"),
                                          py::arg("threads"), py::arg("initial").noconvert());
  py::class_<Genetic, Search>(m, "Genetic")
      .def(py::init(&make_from<Genetic>), py::keep_alive<1, 2>(), py::arg("problem"), py::arg("population"),
           py::arg("seed"), py::arg("threads"), py::arg("initial").noconvert())
      .def(
          "step", [](Genetic& g, int generations) { run_interruptibly([&] { g.step(generations); }); },
          py::arg("generations") = 1)
      .def(
          "receive",
          [](Genetic& g, const GeneArray& scheme) {
            const Genes genes = genes_of(g.problem(), scheme);
            run_interruptibly([&] { g.receive(genes); });
          },
          py::arg("scheme").noconvert());
}

}  // namespace stageplan
