#include "bindings/arrays.h"

#include "kernels/scorer.h"

namespace stageplan {

std::vector<double> to_vector(const Doubles& array) { return {array.data(), array.data() + array.size()}; }

py::array_t<std::int8_t> to_array(const Genes& genes) {
  return py::array_t<std::int8_t>(static_cast<py::ssize_t>(genes.size()), genes.data());
}

std::vector<Tensor> make_tensors(const std::vector<TensorTuple>& tuples) {
  std::vector<Tensor> tensors;
  for (const auto& [producer, consumers, bytes] : tuples) tensors.push_back({producer, consumers, bytes});
  return tensors;
}

void check_genes(const Problem& problem, const char* name, const std::int8_t* genes, size_t count,
                 size_t before) {
  const size_t bad = first_bad_gene(genes, count, problem.labels());
  if (bad == count) return;
  const size_t position = before + bad, layers = problem.layers;
  throw std::invalid_argument(std::string(name) + "[" + std::to_string(position / layers) + ", " +
                              std::to_string(position % layers) + "] is " + std::to_string(genes[bad]) +
                              "; it must be a label from 0 to " + std::to_string(problem.labels() - 1));
}

Genes genes_of(const Problem& problem, const GeneArray& schemes) {
  check_genes(problem, "initial", schemes.data(), schemes.size());
  return {schemes.data(), schemes.data() + schemes.size()};
}

}  // namespace stageplan
