#include "bindings/arrays.h"

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

Genes genes_of(const Problem& problem, const GeneArray& schemes) {
  check_genes(problem, "initial", schemes.data(), schemes.size());
  return {schemes.data(), schemes.data() + schemes.size()};
}

}  // namespace stageplan
