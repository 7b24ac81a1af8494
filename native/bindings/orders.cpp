// Splits of linear orders of a graph.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/interruptible.h"
#include "model/order_splits.h"

namespace stageplan {
namespace {

OrderSplits make_splits(const std::vector<TensorTuple>& tensors,
                        const std::vector<std::tuple<std::int64_t, std::vector<double>, bool>>& kinds) {
  std::vector<DeviceKind> made;
  for (const auto& [number, work, transfers] : kinds) made.push_back({number, work, transfers});
  return {make_tensors(tensors), std::move(made)};
}

// Loads of each kind, shape (cuts, cuts).
std::vector<Doubles> loads_of(OrderSplits& splits, const std::vector<int>& order) {
  std::vector<Doubles> tables;
  for (const std::vector<double>& loads : run_interruptibly([&] { return splits.loads(order); })) {
    const auto cuts = static_cast<py::ssize_t>(std::sqrt(loads.size()));
    tables.emplace_back(std::vector<py::ssize_t>{cuts, cuts}, loads.data());
  }
  return tables;
}

}  // namespace

void bind_orders(py::module_& m) {
  py::class_<OrderSplits>(m, "OrderSplits")
      .def(py::init(&make_splits), py::arg("tensors"), py::arg("kinds"))
      .def(
          "score",
          [](OrderSplits& splits, const std::vector<int>& order) {
            return run_interruptibly([&] { return splits.score(order); });
          },
          py::arg("order"))
      .def("loads", &loads_of, py::arg("order"))
      .def_readonly_static("MOST_CUTS", &OrderSplits::kMostCuts);
}

}  // namespace stageplan
