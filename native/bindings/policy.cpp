// The learned policy: its observations, the weights of its network, and the search that trains it.
#include "policy/policy.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"
#include "policy/features.h"
#include "policy/reinforce.h"

namespace stageplan {
namespace {

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

using Floats = Reals<float>;

Floats to_floats(const std::vector<float>& values) {
  return Floats(static_cast<py::ssize_t>(values.size()), values.data());
}

// The features that all episodes share: (layers, features).
Floats layer_features(const Features& features) {
  const int layers = features.problem().layers;
  return Floats({layers, features.shared()}, features.layer(0));
}

// The features of an episode that has chosen these labels, and the prior logits of its next choice.
std::pair<Floats, Floats> observe(const Features& features, const GeneArray& labels) {
  const int next = static_cast<int>(labels.size());
  check_genes(features.problem(), "labels", labels.data(), labels.size());
  if (next >= features.problem().layers)
    throw std::invalid_argument("labels has one for every layer; none is left to look at");
  EpisodeState state = features.start();
  for (int l = 0; l < next; ++l) features.choose(state, l, labels.data()[l]);
  Floats own(features.own()), prior(features.problem().labels());
  features.observe(state, next, own.mutable_data(), prior.mutable_data());
  return {own, prior};
}

double reward(const Features& features, double cost, double time, double violation, double price) {
  return features.reward({cost, time, violation, price});
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

void bind_policy(py::module_& m) {
  py::class_<PolicyShape>(m, "PolicyShape")
      .def(py::init(&make_shape), py::arg("cell"), py::arg("shared"), py::arg("own"), py::arg("labels"),
           py::arg("hidden"))
      .def_property_readonly("parts", &parts_of)
      .def_property_readonly("weights", &PolicyShape::weights);
  py::class_<Features>(m, "Features")
      .def(py::init([](const Problem& problem) {
             return run_interruptibly([&] { return std::make_unique<Features>(problem); });
           }),
           py::keep_alive<1, 2>(), py::arg("problem"))
      .def_readonly_static("MOST", &Features::kMost)
      .def_property_readonly("layers", &layer_features)
      .def("observe", &observe, py::arg("labels").noconvert())
      .def("reward", &reward, py::arg("cost"), py::arg("time"), py::arg("violation"), py::arg("price"))
      .def(
          "decode",
          [](const Features& f, const Learned& learned) {
            return to_array(
                run_interruptibly([&] { return decode(f, learned.shape, learned.weights.data()); }));
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
      .def("reset_for_new_problem", &Learned::reset_for_new_problem)
      .def_property_readonly("rnn", [](const Learned& l) { return l.shape.cell == Cell::rnn; })
      .def_readonly("baseline", &Learned::baseline)
      .def_readonly("generations", &Learned::generations);
  py::class_<Reinforce, Search>(m, "Reinforce")
      .def(py::init([](const Problem& problem, const Learned& learned, int population, std::uint64_t seed,
                       int threads, const GeneArray& initial, bool alone) {
             const Genes genes = genes_of(problem, initial);
             return run_interruptibly([&] {
               return std::make_unique<Reinforce>(problem, learned, population, seed, threads, genes, alone);
             });
           }),
           py::keep_alive<1, 2>(), py::arg("problem"), py::arg("learned"), py::arg("population"),
           py::arg("seed"), py::arg("threads"), py::arg("initial").noconvert(), py::arg("alone") = false)
      .def_property_readonly("learned", [](const Reinforce& r) { return r.learned(); })
      .def_property_readonly("elites", [](const Reinforce& r) { return elite_schemes(r); });
}

}  // namespace stageplan
