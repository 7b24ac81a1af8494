// Deadlines of native work.
#include "common/stop.h"

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/bind.h"

namespace stageplan {
namespace py = pybind11;
namespace {

// A context manager: native calls of the thread within it stop after a number of seconds.
class StopAfter {
 public:
  explicit StopAfter(double seconds) : seconds_(seconds) {}
  void enter() { request_ = std::make_unique<StopRequest>(seconds_); }
  void exit(const py::args&) { request_.reset(); }

 private:
  const double seconds_;
  std::unique_ptr<StopRequest> request_;
};

}  // namespace

void bind_stop(py::module_& m) {
  static py::exception<Stopped> stopped(m, "Stopped");
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Stopped&) {
      PyErr_SetString(stopped.ptr(), "the deadline of the work has come");
    }
  });
  py::class_<StopAfter>(m, "StopAfter")
      .def(py::init<double>(), py::arg("seconds"))
      .def("__enter__", &StopAfter::enter)
      .def("__exit__", &StopAfter::exit);
}

}  // namespace stageplan
