// Conversion between Python arrays and those of the core.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/scorer.h"
#include "search/schemes.h"

namespace stageplan {

namespace py = pybind11;

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using GeneArray = py::array_t<std::int8_t, py::array::c_style>;
template <class Real>
using Reals = py::array_t<Real, py::array::c_style>;
using TensorTuple = std::tuple<int, std::vector<int>, double>;

std::vector<double> to_vector(const Doubles& array);
py::array_t<std::int8_t> to_array(const Genes& genes);
std::vector<Tensor> make_tensors(const std::vector<TensorTuple>& tuples);

// Throws if a scheme of `initial` has a gene that is not a label.
Genes genes_of(const Problem& problem, const GeneArray& schemes);

template <class Array>
void check_size(const char* name, const Array& array, size_t size) {
  if (static_cast<size_t>(array.size()) == size) return;
  throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.size()) +
                              " numbers; it must have " + std::to_string(size));
}

}  // namespace stageplan
